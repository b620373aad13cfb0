//! The worker pool for BLS: as many jobs at once as there are cores, the rest waits in order of arrival.

use std::sync::Arc;
use std::thread;

use holdfast_core::io::Input;
use holdfast_core::partials::BlsJob;
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
        let pool = self.clone();
        tokio::spawn(async move {
            let Ok(_worker) = pool.workers.acquire().await else { return };
            let done = tokio::task::spawn_blocking(move || {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed).expect("the kernel gives randomness");
                job.run(seed)
            })
            .await;
            match done {
                Ok(done) => drop(pool.inputs.send(Input::BlsDone(done)).await),
                Err(panicked) => tracing::error!(error = %panicked, "a BLS job ended without a result"),
            }
        });
    }
}
