//! What goes wrong, and when: a sound reading, and spans of time in which something about it is otherwise.
//!
//! A reading is a function of the time alone, so a script reads the same however often and in whatever steps it is read.

/// A change to a reading, which is told how long it has lasted, in ms.
type Change<R> = Box<dyn Fn(&mut R, u64)>;

/// Readings by a script.
pub struct Script<R> {
    sound: R,
    spans: Vec<(u64, u64, Change<R>)>,
}

impl<R: Clone> Script<R> {
    /// Nothing goes wrong.
    #[must_use]
    pub fn sound(sound: R) -> Self {
        Self { sound, spans: Vec::new() }
    }

    /// From one time on, and before another (both in ms), a change holds. Later spans are made to what earlier ones left.
    #[must_use]
    pub fn between(mut self, from_ms: u64, until_ms: u64, change: impl Fn(&mut R, u64) + 'static) -> Self {
        self.spans.push((from_ms, until_ms, Box::new(change)));
        self
    }

    /// The reading at a time.
    #[must_use]
    pub fn at(&self, now_ms: u64) -> R {
        let mut reading = self.sound.clone();
        for (from_ms, until_ms, change) in &self.spans {
            if (*from_ms..*until_ms).contains(&now_ms) {
                change(&mut reading, now_ms - from_ms);
            }
        }
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_hold_from_their_beginning_to_before_their_end_and_in_order() {
        let script = Script::sound(1_u64).between(10, 20, |reading, since| *reading += 100 + since).between(
            15,
            30,
            |reading, _| *reading *= 2,
        );
        let read: Vec<u64> = [9, 10, 14, 15, 19, 20, 29, 30, 12].map(|now| script.at(now)).to_vec();
        assert_eq!(read, [1, 101, 105, 212, 220, 2, 2, 1, 103], "the same time reads the same");
    }
}
