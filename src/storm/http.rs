//! One keep-alive connection: writes a request in one piece and reads its answer.
//!
//! The client side of HTTP/1.1 that a load generator needs, and no more: one request at a time, answers with a length, in
//! chunks, or until the end of the connection. Made for few system calls and no allocation per request.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Header fields of an answer, at most.
const HEADERS_MAX: usize = 64;
/// Bytes of an answer, head and body, at most: larger ones are none that a storm asks for.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// Room for an answer at the beginning; it grows to the largest one seen.
const ROOM: usize = 16 * 1024;

/// The exchange did not end with an answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// No connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// It ended before the answer was whole.
    #[error("the connection was closed before the answer was whole")]
    Closed,
    /// Not HTTP, or beyond a bound.
    #[error("the answer is not understood: {0}")]
    NotUnderstood(&'static str),
    /// Nothing in time.
    #[error("no answer in time")]
    TimedOut,
}

impl ExchangeError {
    /// The word in reports.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Connect(_) => "no connection",
            Self::Broken(_) => "broken",
            Self::Closed => "closed",
            Self::NotUnderstood(_) => "not understood",
            Self::TimedOut => "timeout",
        }
    }
}

/// The head of an answer; its body is in [`Connection::body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    body: Range<usize>,
}

/// A connection to one address; made when it is first needed, and again after it ended.
pub struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    /// What was read; only the first `filled` bytes.
    buffer: Vec<u8>,
    filled: usize,
}

impl Connection {
    /// Not connected yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, stream: None, buffer: vec![0; ROOM], filled: 0 }
    }

    /// The bytes of an answer's body, until the next request.
    pub fn body(&self, answer: &Answer) -> &[u8] {
        &self.buffer[answer.body.clone()]
    }

    /// Sends `request` and reads the whole answer.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer, ExchangeError> {
        let mut stream = match self.stream.take().filter(is_idle) {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(request).await.map_err(ExchangeError::Broken)?;
        let (answer, is_reusable) = self.read_answer(&mut stream).await?;
        // after an error it stays dropped: nobody knows where the next answer would begin
        if is_reusable {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    async fn read_answer(&mut self, stream: &mut TcpStream) -> Result<(Answer, bool), ExchangeError> {
        self.filled = 0;
        let mut begin = 0;
        loop {
            let head = loop {
                if self.filled > begin
                    && let Some(head) = parse_head(&self.buffer[begin..self.filled])?
                {
                    break head;
                }
                if self.read_more(stream).await? == 0 {
                    return Err(ExchangeError::Closed);
                }
            };
            begin += head.length;
            // an interim answer is not the answer
            if (100..200).contains(&head.status) {
                continue;
            }
            let end = match head.framing {
                Framing::Length(length) => self.read_until(stream, begin.saturating_add(length)).await?,
                Framing::Chunked => self.read_chunks(stream, begin).await?,
                Framing::UntilClosed => {
                    while self.read_more(stream).await? > 0 {}
                    self.filled
                }
            };
            return Ok((Answer { status: head.status, body: begin..end }, head.keep_alive));
        }
    }

    /// Reads until there are `end` bytes.
    async fn read_until(&mut self, stream: &mut TcpStream, end: usize) -> Result<usize, ExchangeError> {
        if end > ANSWER_MAX {
            return Err(ExchangeError::NotUnderstood("it is too long"));
        }
        while self.filled < end {
            if self.read_more(stream).await? == 0 {
                return Err(ExchangeError::Closed);
            }
        }
        Ok(end)
    }

    /// Reads chunks and moves them together; the end of the body.
    async fn read_chunks(&mut self, stream: &mut TcpStream, begin: usize) -> Result<usize, ExchangeError> {
        let (mut body_end, mut next) = (begin, begin);
        loop {
            let (line, size) = loop {
                match httparse::parse_chunk_size(&self.buffer[next..self.filled]) {
                    Ok(httparse::Status::Complete((line, size))) => break (line, size),
                    Ok(httparse::Status::Partial) => {
                        if self.read_more(stream).await? == 0 {
                            return Err(ExchangeError::Closed);
                        }
                    }
                    Err(_) => return Err(ExchangeError::NotUnderstood("a chunk's size")),
                }
            };
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let data = next + line;
            if size == 0 {
                self.read_trailers(stream, data).await?;
                return Ok(body_end);
            }
            let end = data.saturating_add(size).saturating_add(2);
            self.read_until(stream, end).await?;
            self.buffer.copy_within(data..data + size, body_end);
            body_end += size;
            next = end;
        }
    }

    /// The fields after the last chunk, up to the empty line.
    async fn read_trailers(&mut self, stream: &mut TcpStream, begin: usize) -> Result<(), ExchangeError> {
        loop {
            let rest = &self.buffer[begin..self.filled];
            if rest.starts_with(b"\r\n") || rest.windows(4).any(|window| window == b"\r\n\r\n") {
                return Ok(());
            }
            if self.read_more(stream).await? == 0 {
                return Err(ExchangeError::Closed);
            }
        }
    }

    async fn read_more(&mut self, stream: &mut TcpStream) -> Result<usize, ExchangeError> {
        if self.filled == self.buffer.len() {
            if self.filled >= ANSWER_MAX {
                return Err(ExchangeError::NotUnderstood("it is too long"));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        let read = stream.read(&mut self.buffer[self.filled..]).await.map_err(ExchangeError::Broken)?;
        self.filled += read;
        Ok(read)
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ExchangeError> {
    let stream = TcpStream::connect(address).await.map_err(ExchangeError::Connect)?;
    stream.set_nodelay(true).map_err(ExchangeError::Connect)?;
    Ok(stream)
}

/// Whether the server has not closed the connection meanwhile (and has sent nothing that nobody asked for).
fn is_idle(stream: &TcpStream) -> bool {
    let unread = stream.try_read(&mut [0; 1]);
    matches!(unread, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

struct Head {
    status: u16,
    /// Bytes up to the body.
    length: usize,
    framing: Framing,
    keep_alive: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

/// The head at the beginning of `bytes`; none while it is not whole.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>, ExchangeError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < ANSWER_MAX => return Ok(None),
        _ => return Err(ExchangeError::NotUnderstood("it is no HTTP/1.1")),
    };
    let status = parsed.code.unwrap_or_default();
    let mut keep_alive = parsed.version == Some(1);
    let mut framing = None;
    for field in parsed.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(field.value).ok().and_then(|text| text.trim().parse().ok());
            let length = text.ok_or(ExchangeError::NotUnderstood("its length"))?;
            framing.get_or_insert(Framing::Length(length));
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            // it wins over a length
            framing = Some(Framing::Chunked);
        } else if field.name.eq_ignore_ascii_case("connection") {
            keep_alive = match field.value {
                value if value.eq_ignore_ascii_case(b"close") => false,
                value if value.eq_ignore_ascii_case(b"keep-alive") => true,
                _ => keep_alive,
            };
        }
    }
    let bodiless = (100..200).contains(&status) || status == 204 || status == 304;
    let framing = if bodiless { Framing::Length(0) } else { framing.unwrap_or(Framing::UntilClosed) };
    keep_alive &= framing != Framing::UntilClosed;
    Ok(Some(Head { status, length, framing, keep_alive }))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers the requests of each connection with these texts, byte by byte when `slowly`, and then closes.
    async fn server(connections: Vec<Vec<&'static str>>, slowly: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        tokio::spawn(async move {
            for answers in connections {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                for answer in answers {
                    let mut request = [0; 1];
                    stream.read_exact(&mut request).await.expect("a request");
                    let size = if slowly { 1 } else { answer.len() };
                    for part in answer.as_bytes().chunks(size) {
                        stream.write_all(part).await.expect("written");
                        stream.flush().await.expect("flushed");
                        tokio::task::yield_now().await;
                    }
                }
            }
        });
        address
    }

    async fn ask(connection: &mut Connection) -> Result<(u16, String), ExchangeError> {
        let answer = connection.exchange(b"?").await?;
        Ok((answer.status, String::from_utf8_lossy(connection.body(&answer)).into_owned()))
    }

    #[tokio::test]
    async fn every_framing_is_read_to_its_end_and_the_connection_used_again() {
        let answers = vec![
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nto the end",
        ];
        for slowly in [false, true] {
            let mut connection = Connection::new(server(vec![answers.clone()], slowly).await);
            for (status, body) in
                [(200, "hello"), (204, ""), (200, "hello world"), (201, "x"), (200, "a"), (200, "to the end")]
            {
                let (found, text) = ask(&mut connection).await.expect("an answer");
                assert_eq!((found, text.as_str()), (status, body), "slowly: {slowly}");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_the_server_closes_is_made_again() {
        let one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1";
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n2";
        let mut connection = Connection::new(server(vec![vec![one, last], vec![one]], false).await);
        for body in ["1", "2", "1"] {
            assert_eq!(ask(&mut connection).await.expect("an answer").1, body);
        }
    }

    #[tokio::test]
    async fn half_an_answer_and_garbage_are_errors() {
        for (answer, word) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "closed"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "closed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "not understood"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "not understood"),
            ("SSH-2.0-OpenSSH\r\n", "not understood"),
            ("", "closed"),
        ] {
            let mut connection = Connection::new(server(vec![vec![answer]], false).await);
            assert_eq!(ask(&mut connection).await.expect_err(answer).word(), word, "{answer:?}");
        }
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
        assert_eq!(ask(&mut Connection::new(free)).await.expect_err("nobody").word(), "no connection");
    }

    #[tokio::test]
    async fn an_answer_larger_than_the_room_is_read_whole() {
        let body = "x".repeat(5 * ROOM);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut connection = Connection::new(server(vec![vec![answer.leak()]], false).await);
        assert_eq!(ask(&mut connection).await.expect("an answer").1, body);
    }
}
