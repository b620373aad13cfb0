//! Asks the daemon over its socket: one small HTTP request for each connection, bounded in time and size. Not a general
//! HTTP client: the daemon answers both requests with a length and a body.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_api::{Problem, Screen};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// The daemon is not there, or does not speak.
    #[error("the agent is not reached")]
    Io(#[from] io::Error),
    /// What it says is not what it should say.
    #[error("the agent's answer cannot be read: {0}")]
    Malformed(&'static str),
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// What is to be shown.
pub(crate) fn screen(socket: &Path) -> Result<Box<Screen>, AskError> {
    let body = request(socket, "GET", "/screen")?;
    serde_json::from_slice(&body).map_err(|_| AskError::Malformed("not what a display shows"))
}

/// Makes a new pairing code; the daemon refuses when somebody owns the box.
pub(crate) fn new_code(socket: &Path) -> Result<(), AskError> {
    request(socket, "POST", "/screen/code").map(drop)
}

fn request(socket: &Path, method: &str, path: &str) -> Result<Vec<u8>, AskError> {
    let deadline = Instant::now() + TIMEOUT;
    let mut stream = UnixStream::connect(socket)?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let head = format!("{method} {path} HTTP/1.1\r\nhost: holdfast\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(err.into()),
        }
        if answer.len() > ANSWER_LEN_MAX {
            return Err(AskError::Malformed("too long"));
        }
        if let Some(body) = complete(&answer)? {
            return judge(&answer, body);
        }
    }
    Err(AskError::Malformed("cut off"))
}

/// The body, when all of it is there.
fn complete(answer: &[u8]) -> Result<Option<&[u8]>, AskError> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| AskError::Malformed("its head is not text"))?;
    let length = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    let length = length.last().unwrap_or(if head.contains(" 204 ") { "0" } else { "" });
    let length: usize = length.parse().map_err(|_| AskError::Malformed("it has no length"))?;
    Ok(answer[end + 4..].get(..length))
}

fn judge(answer: &[u8], body: &[u8]) -> Result<Vec<u8>, AskError> {
    let status = answer.get(..12).and_then(|line| line.strip_prefix(b"HTTP/1.1 "));
    let status = status.ok_or(AskError::Malformed("it is not HTTP/1.1"))?;
    if status[0] == b'2' {
        return Ok(body.to_vec());
    }
    let problem =
        serde_json::from_slice::<Problem>(body).map_err(|_| AskError::Malformed("a refusal without a reason"))?;
    Err(AskError::Refused(problem.detail))
}

/// The daemon is on the same machine and has the answer at hand.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A screen with a hundred conditions is a tenth of this.
const ANSWER_LEN_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// What `ask` says about an answer, and what it had sent.
    fn answered<T>(
        answer: &'static [u8],
        ask: impl FnOnce(&Path) -> Result<T, AskError>,
    ) -> (Result<T, AskError>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("screen");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = vec![0; 4096];
            let n = stream.read(&mut asked).unwrap();
            // In two pieces: whoever asks has to put them together. It may have hung up on the first.
            let (first, second) = answer.split_at(answer.len() / 2);
            stream.write_all(first).unwrap();
            stream.flush().unwrap();
            _ = stream.write_all(second);
            String::from_utf8(asked[..n].to_vec()).unwrap()
        });
        (ask(&path), daemon.join().unwrap())
    }

    #[test]
    fn a_new_code_is_asked_for() {
        let (result, asked) = answered(b"HTTP/1.1 204 No Content\r\n\r\n", new_code);
        result.unwrap();
        assert!(asked.starts_with("POST /screen/code HTTP/1.1\r\nhost: "), "{asked}");
        assert!(asked.ends_with("\r\n\r\n"));
    }

    #[test]
    fn the_body_is_as_long_as_the_head_says() {
        let (result, asked) = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more", |path| {
            request(path, "GET", "/screen")
        });
        assert_eq!(result.unwrap(), b"body");
        assert!(asked.starts_with("GET /screen HTTP/1.1\r\n"), "{asked}");
    }

    #[test]
    fn a_refusal_is_given_in_the_daemons_words() {
        let body = r#"{"type":"https://x/owned","title":"t","status":409,"detail":"the box has an owner: reset it first","instance":"1"}"#;
        let answer = format!("HTTP/1.1 409 Conflict\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let (result, _) = answered(answer.leak().as_bytes(), new_code);
        assert_eq!(result.unwrap_err().to_string(), "the box has an owner: reset it first");
    }

    #[test]
    fn what_is_no_answer_is_named() {
        for (answer, says) in [
            (&b"HTTP/1.1 200 OK\r\n\r\n{}"[..], "no length"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}", "cut off"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "not what a display shows"),
            (b"SSH-2.0-x\r\ncontent-length: 2\r\n\r\n{}", "not HTTP"),
            (b"HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\n{}", "without a reason"),
            (b"\xff\xff\r\n\r\n", "not text"),
            (b"", "cut off"),
        ] {
            let (result, _) = answered(answer, screen);
            let error = result.unwrap_err().to_string();
            assert!(error.contains(says), "{error} lacks {says}");
        }
        let endless = vec![b'x'; ANSWER_LEN_MAX * 2 + 2].leak();
        assert!(answered(endless, screen).0.unwrap_err().to_string().contains("too long"));
        let nowhere = screen(Path::new("/nonexistent/screen")).unwrap_err();
        assert_eq!(nowhere.to_string(), "the agent is not reached");
    }
}
