//! Single requests: to prepare, to record what is answered, and to look.

use std::io;
use std::net::SocketAddr;

use hearth::storm::Step;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer as it came.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// A connection that is kept.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What every request carries besides its host. The project is the one that `hearth fill` fills.
pub const HEADERS: [(&str, &str); 3] =
    [("X-Auth-Token", "admin:fill-0"), ("OpenStack-API-Version", "volume 3.71"), ("Accept", "application/json")];

/// Method, path and body of a step, with its variables filled in.
pub fn render(step: &Step, volume: &str, attachment: &str) -> (String, String, String) {
    let fill = |text: &str| text.replace("{volume}", volume).replace("{attachment}", attachment);
    let body = step.body.as_ref().map(|body| fill(&body.to_string())).unwrap_or_default();
    (step.method.clone(), format!("/v3{}", fill(&step.path)), body)
}

impl Connection {
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in HEADERS {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(body);
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let (head_end, status, headers, length) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let (status, headers) = parse_head(&self.buffer[..end])?;
                let length = headers
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                    .map_or(Ok(0), |(_, value)| value.parse::<usize>())
                    .map_err(io::Error::other)?;
                break (end + 4, status, headers, length);
            }
        };
        while self.buffer.len() < head_end + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(Answer { status, headers, body: self.buffer[head_end..head_end + length].to_vec() })
    }
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let text = std::str::from_utf8(head).map_err(io::Error::other)?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no status line"))?;
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok((status, headers.collect()))
}
