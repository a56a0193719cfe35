//! A request as the stand-ins of other services read it from a connection.

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Its head, and as much of its body as was read.
pub struct Received {
    head: String,
    pub body: Vec<u8>,
}

impl Received {
    /// Reads up to the end of the head. None: the client went away.
    pub async fn head_of(stream: &mut TcpStream) -> Option<Self> {
        let mut text = Vec::new();
        let end = loop {
            if let Some(end) = text.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut text).await.ok()? == 0 {
                return None;
            }
        };
        let body = text.split_off(end);
        Some(Self { head: String::from_utf8(text).unwrap(), body })
    }

    /// Reads the rest of the body; false: the client closed the connection before its end. None: the connection broke.
    pub async fn read_body(&mut self, stream: &mut TcpStream) -> Option<bool> {
        let length = self.header("content-length").map_or(0, |length| length.parse().unwrap());
        while self.body.len() < length {
            if stream.read_buf(&mut self.body).await.ok()? == 0 {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Head and body. None: the client went away.
    pub async fn whole(stream: &mut TcpStream) -> Option<Self> {
        let mut received = Self::head_of(stream).await?;
        received.read_body(stream).await?.then_some(received)
    }

    /// Method and target.
    pub fn line(&self) -> Option<String> {
        Some(self.head.lines().next()?.strip_suffix(" HTTP/1.1")?.to_owned())
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    }
}
