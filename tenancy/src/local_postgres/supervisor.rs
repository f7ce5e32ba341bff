//! The thread that keeps the server running: it spawns Postgres, starts it again when it dies, and stops it.
//!
//! A thread of its own, because the kernel ties the server's life to the *thread* that spawned it: a worker of
//! the caller's runtime may end long before the program.
//!
//! INVARIANT: only the holder of the owner lock spawns a server for the cluster.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::error::{LocalPostgresError, StartError};

const EAGER: Duration = Duration::from_millis(10);
const CALM: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A server that has run for this long has not failed to start.
const SETTLED: Duration = Duration::from_secs(10);
/// How often a start is tried when a server was here before: its last processes may still hold the data.
const TRIES_AFTER_A_CRASH: u32 = 10;

/// How far the supervisor is.
#[derive(Debug)]
pub(super) enum Phase {
    /// Another process serves the cluster; we take over when it ends.
    Attached,
    /// We are about to spawn a server.
    Starting,
    /// Our server has been spawned.
    Spawned,
    /// The first start failed: the supervisor is gone.
    Failed(Option<LocalPostgresError>),
}

/// A handle on the thread; dropped, it stops the server and waits for it.
#[derive(Debug)]
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    // Closed to say `stop`.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    ready: std::sync::atomic::AtomicBool,
}

impl Supervisor {
    /// Begins to supervise. `lock` is the owner lock's file, and `is_owner` whether we hold it.
    pub(super) fn start(cluster: Cluster, lock: File, is_owner: bool) -> Result<Self, StartError> {
        let phase = if is_owner { Phase::Starting } else { Phase::Attached };
        let shared = Arc::new(Shared { phase: Mutex::new(phase), ready: false.into() });
        let (stop, orders) = channel();
        let round = Round { cluster, shared: Arc::clone(&shared), orders };
        let thread = std::thread::Builder::new().name("formwork-postgres".to_owned()).spawn(move || {
            if is_owner || round.wait_for_ownership(&lock) {
                round.serve();
            }
            // The server has ended by now: the next process may serve.
            drop(lock);
        });
        let thread = thread.map_err(|source| StartError {
            reason: "cannot start a thread for the private Postgres".to_owned(),
            log_tail: String::new(),
            source: Some(source),
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Whether the server may be connected to; the error of a first start that failed.
    pub(super) fn may_connect(&self) -> Result<bool, LocalPostgresError> {
        match &mut *self.shared.phase() {
            Phase::Attached | Phase::Spawned => Ok(true),
            Phase::Starting => Ok(false),
            Phase::Failed(error) => Err(error.take().unwrap_or_else(|| ended().into())),
        }
    }

    pub(super) fn is_attached(&self) -> bool {
        matches!(*self.shared.phase(), Phase::Attached)
    }

    /// From now on a server that dies is started again.
    pub(super) fn ready(&self) {
        self.shared.ready.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Stops the server, if it is ours, and waits for its end.
    pub(super) fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // The thread does not panic; if it did, there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn phase(&self) -> std::sync::MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: Phase) {
        *self.phase() = phase;
    }

    fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Why a server is no longer watched.
enum End {
    Told,
    Died(ExitStatus),
}

/// What the thread works with.
struct Round {
    cluster: Cluster,
    shared: Arc<Shared>,
    orders: Receiver<()>,
}

impl Round {
    /// Waits until the process that serves the cluster ends; `false` when told to stop before that.
    fn wait_for_ownership(&self, lock: &File) -> bool {
        loop {
            if lock.try_lock().is_ok() {
                tracing::info!(dir = %self.cluster.dir().display(), "taking over the private Postgres");
                self.shared.enter(Phase::Starting);
                return true;
            }
            if self.told_within(CALM) {
                return false;
            }
        }
    }

    fn serve(&self) {
        let crashed = self.cluster.recorded_pid().is_some();
        if !self.end_orphan() {
            return;
        }
        let mut tries_left = if crashed { TRIES_AFTER_A_CRASH } else { 1 };
        let mut pause = Duration::from_millis(100);
        loop {
            let begun = Instant::now();
            let log_offset = self.cluster.log_length();
            let failure = match self.spawn() {
                Ok(child) => match self.watch(child) {
                    End::Told => return,
                    End::Died(status) => StartError {
                        reason: format!("Postgres ended ({status})"),
                        log_tail: self.cluster.log_tail(log_offset),
                        source: None,
                    }
                    .into(),
                },
                Err(error) => error,
            };
            tries_left = tries_left.saturating_sub(1);
            if !self.shared.is_ready() && tries_left == 0 {
                return self.shared.enter(Phase::Failed(Some(failure)));
            }
            if begun.elapsed() > SETTLED {
                pause = EAGER;
            }
            if self.shared.is_ready() {
                tracing::warn!(error = %failure, pause_ms = pause.as_millis(), "starting the private Postgres again");
            }
            if self.told_within(pause) {
                return;
            }
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    fn spawn(&self) -> Result<Child, LocalPostgresError> {
        let mut command = self.cluster.server()?;
        let child = command.spawn().map_err(|source| StartError {
            reason: format!("cannot run `{}`", command.get_program().display()),
            log_tail: String::new(),
            source: Some(source),
        })?;
        self.shared.enter(Phase::Spawned);
        Ok(child)
    }

    fn watch(&self, mut child: Child) -> End {
        loop {
            // An error means that the process is not there to be waited for, which is an end as well.
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return End::Died(status),
                Err(_) => return End::Died(ExitStatus::default()),
            }
            let interval = if self.shared.is_ready() { CALM } else { EAGER };
            if self.told_within(interval) {
                end(&mut child);
                return End::Told;
            }
        }
    }

    /// A server without an owner is left over from a process that was killed: it is on its way out already, or
    /// nobody will ever stop it. `false` when told to stop meanwhile.
    fn end_orphan(&self) -> bool {
        let begun = Instant::now();
        let (mut told, mut asked) = (false, false);
        while self.cluster.answers() && begun.elapsed() < Duration::from_secs(30) {
            if !asked && (told || begun.elapsed() > Duration::from_secs(2)) {
                asked = true;
                // It answers on the socket in our folder, so the lock file in our folder is its own.
                if let Some(pid) = self.cluster.recorded_pid() {
                    signal("INT", pid);
                }
            }
            if told {
                std::thread::sleep(EAGER);
            } else {
                told = self.told_within(EAGER);
            }
        }
        !told
    }

    fn told_within(&self, time: Duration) -> bool {
        !matches!(self.orders.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }
}

/// Fast shutdown, then the immediate one, then none.
fn end(child: &mut Child) {
    for (name, patience) in [("INT", 30), ("QUIT", 5)] {
        signal(name, child.id());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(patience) {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// By the shell's own `kill`: std has no signals, and a small machine no `kill` program.
fn signal(name: &str, pid: u32) {
    let mut command = Command::new("sh");
    command.args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()]);
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn ended() -> StartError {
    StartError { reason: "the private Postgres has ended".to_owned(), log_tail: String::new(), source: None }
}
