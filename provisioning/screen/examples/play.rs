//! Plays a daemon for whoever wants to look at the display: `cargo run --example play -- /tmp/screen`, and in another
//! terminal `holdfast-screen --tty --socket /tmp/screen`. Shows one box after the other, each for some seconds.

#![forbid(unsafe_code)]

#[path = "../src/draw/play.rs"]
mod play;

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant, SystemTime};

use holdfast_api::{Screen, Timestamp};
use holdfast_types::Millis;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name the socket")?;
    let seconds: u64 = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let listener = UnixListener::bind(&path)?;
    let start = Instant::now();
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut head = [0; 1024];
        let n = stream.read(&mut head)?;
        let boxes = [play::unpaired(), play::medium(), play::words(), play::owned(), play::troubled()];
        let turn = usize::try_from(start.elapsed().as_secs() / seconds.max(1))? % boxes.len();
        let body = match head.get(..n) {
            Some(head) if head.starts_with(b"POST") => Vec::new(),
            _ => serde_json::to_vec(&at_present(boxes[turn].clone())?)?,
        };
        // Whoever hangs up early is only looking.
        _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).and(stream.write_all(&body));
    }
    Ok(())
}

/// The same box today.
fn at_present(mut screen: Screen) -> Result<Screen, Box<dyn Error>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let shift_ms = u64::try_from(now.as_millis())?.wrapping_sub(play::NOW.0);
    let moved = |at: &mut Timestamp| at.0 = Millis(at.0.0.wrapping_add(shift_ms));
    moved(&mut screen.now);
    screen.conditions.iter_mut().for_each(|condition| moved(&mut condition.since));
    if let Some(pairing) = &mut screen.pairing {
        pairing.expires = Timestamp(screen.now.0.plus(Duration::from_secs(872).as_secs() * 1_000));
    }
    Ok(screen)
}
