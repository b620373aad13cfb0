//! What happens in a box, as it happens, over broken connections too.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use holdfast_api::Event;
use hyper::body::Incoming;
use hyper::header;
use rustls::ClientConfig;

use super::connection::{Connection, Sent, next_data};
use super::sse::{Message, Parser};
use super::{Call, ClientError, Target, Timeouts};

/// Events, one after the other. It has a connection of its own.
pub struct EventStream {
    target: Target,
    tls: Arc<ClientConfig>,
    timeouts: Timeouts,
    after: Option<u64>,
    open: Option<Open>,
    waiting: VecDeque<Event>,
}

struct Open {
    body: Incoming,
    parser: Parser,
    /// It ends when this is dropped.
    _connection: Connection,
}

impl EventStream {
    pub(super) async fn open(
        target: Target,
        tls: Arc<ClientConfig>,
        timeouts: Timeouts,
        after: Option<u64>,
    ) -> Result<Self, ClientError> {
        let mut stream = Self { target, tls, timeouts, after, open: None, waiting: VecDeque::new() };
        stream.connect().await?;
        Ok(stream)
    }

    /// The last event that was given out, or after which it began.
    #[must_use]
    pub const fn after(&self) -> Option<u64> {
        self.after
    }

    /// The next event. A connection that broke is made anew once, and goes on after the last event; what the box does not keep
    /// any more comes as a gap. After an error it may be asked again, which connects again: how often is the caller's choice.
    /// When the future is dropped, no event is lost.
    ///
    /// # Errors
    /// When the box is not reached, refuses, or sends what is no event.
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        let mut may_connect = true;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.after = Some(event.id);
                return Ok(event);
            }
            if self.open.is_none() {
                if !std::mem::take(&mut may_connect) {
                    return Err(ClientError::Answer { what: "the events ended before one came".to_owned() });
                }
                self.connect().await?;
            }
            match self.read().await {
                Ok(true) => {}
                Ok(false) | Err(ClientError::Interrupted { .. } | ClientError::TimedOut { .. }) if may_connect => {
                    self.open = None;
                }
                Ok(false) => self.open = None,
                Err(error) => {
                    self.open = None;
                    return Err(error);
                }
            }
        }
    }

    /// Reads some more. `false` at the end.
    async fn read(&mut self) -> Result<bool, ClientError> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let Some(data) = next_data(&mut open.body, &self.target, self.timeouts.idle).await? else { return Ok(false) };
        let mut events = Vec::new();
        let pushed = open.parser.push(&data, &mut |message| events.push(event(&message)));
        pushed.map_err(|_| ClientError::Answer { what: "an event is too long".to_owned() })?;
        for event in events {
            self.waiting.push_back(event?);
        }
        Ok(true)
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        let mut connection = Connection::open(&self.target, &self.tls, &self.timeouts).await?;
        let mut call = Call::get("/v1/events").header(header::ACCEPT.as_str(), "text/event-stream".to_owned());
        if let Some(after) = self.after {
            call = call.header("last-event-id", after.to_string());
        }
        let response = connection.begin(&call, &self.timeouts).await.map_err(Sent::into_error)?;
        if !response.status().is_success() {
            connection.whole(response, &self.timeouts).await?.or_problem()?;
            return Err(ClientError::Answer { what: "no events".to_owned() });
        }
        self.open = Some(Open { body: response.into_body(), parser: Parser::default(), _connection: connection });
        Ok(())
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventStream({} after {:?})", self.target, self.after)
    }
}

fn event(message: &Message) -> Result<Event, ClientError> {
    let event: Event =
        serde_json::from_str(&message.data).map_err(|err| ClientError::Answer { what: format!("an event: {err}") })?;
    match &message.id {
        Some(id) if *id != event.id.to_string() => {
            Err(ClientError::Answer { what: format!("event {} has the id {id:?}", event.id) })
        }
        _ => Ok(event),
    }
}
