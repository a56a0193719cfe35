//! A server without anything behind it: a function from request lines to answers, a thread for each connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use hearth::storm::Site;

/// Serves until the test ends; `answer` gets the request line and gives status and body.
pub fn serve(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> Site {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || serve_one(&stream, &*answer));
        }
    });
    Site::bare(address)
}

/// Until the client closes.
fn serve_one(stream: &TcpStream, answer: &dyn Fn(&str) -> (u16, String)) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request_line = String::new();
        if reader.read_line(&mut request_line).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut field = String::new();
            reader.read_line(&mut field).unwrap();
            if field == "\r\n" {
                break;
            }
            if let Some(value) = field.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let (status, body) = answer(request_line.trim_end());
        let head = format!("HTTP/1.1 {status} -\r\nContent-Length: {}\r\n\r\n", body.len());
        // the client may be gone
        let mut stream = stream;
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}
