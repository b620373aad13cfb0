//! The worker pool for BLS: as many jobs at once as there are cores, the rest waits in order of arrival.

use std::sync::Arc;
use std::thread;

use holdfast_core::io::Input;
use holdfast_core::partials::{BlsDone, BlsJob};
use holdfast_types::DutyId;
use tokio::sync::{Semaphore, mpsc};

/// Runs jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    workers: Arc<Semaphore>,
    inputs: mpsc::Sender<Input>,
}

impl Pool {
    /// A pool that leaves no core to itself: the kernel shares them between the jobs and the loop.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { workers: Arc::new(Semaphore::new(cores)), inputs }
    }

    /// Runs a job. Answered by [`Input::BlsDone`]. The core has at most one job of each duty under way, so what waits
    /// here is bounded by the duties that it works on.
    pub fn run(&self, job: BlsJob) {
        let duty = job.duty();
        self.run_or_lose(duty, move || {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).expect("the kernel gives randomness");
            job.run(seed)
        });
    }

    /// The core waits for the answer, so a job that panics has one too.
    fn run_or_lose(&self, duty: DutyId, work: impl FnOnce() -> BlsDone + Send + 'static) {
        let pool = self.clone();
        tokio::spawn(async move {
            let _worker = pool.workers.acquire().await.expect("this semaphore is never closed");
            let done = tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| {
                tracing::error!(%duty, error = %panicked, "a BLS job ended without a result");
                BlsJob::lost(duty)
            });
            // The loop being gone means that the node stops.
            let _ = pool.inputs.send(Input::BlsDone(done)).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use holdfast_types::Slot;

    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_is_answered() {
        let (inputs, mut answers) = mpsc::channel(1);
        let duty = DutyId::attester(Slot(7));
        Pool::new(inputs).run_or_lose(duty, || panic!("as a bug would"));
        assert!(matches!(answers.recv().await, Some(Input::BlsDone(done)) if done.duty() == duty));
    }
}
