//! A Redis of the test's own, which it may kill, stop and start again.

use std::{
    fs,
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

/// `REDIS_SERVER_BIN`, or where systems put it.
fn program() -> Option<PathBuf> {
    let named = std::env::var_os("REDIS_SERVER_BIN").map(PathBuf::from);
    let known = ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server"];
    let found = named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.exists());
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "redis-server is not installed: run script/bootstrap --tests"
        );
        eprintln!("redis-server is not installed: not tested (script/bootstrap --tests installs it)");
    }
    found
}

/// A server of the test's own, on a socket in a folder of its own.
pub(crate) struct Server {
    program: PathBuf,
    folder: PathBuf,
    process: Option<Child>,
    /// Of a cluster, all of whose slots it has.
    cluster: bool,
}

impl Server {
    pub(crate) async fn start(cluster: bool) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("formwork-redis-{}-{number}", std::process::id()));
        let mut server = Self { program: program()?, folder, process: None, cluster };
        fs::create_dir_all(&server.folder).unwrap();
        server.up().await;
        Some(server)
    }

    pub(crate) async fn up(&mut self) {
        let mut command = Command::new(&self.program);
        let port = if self.cluster { free_port() } else { 0 };
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket"]).arg(self.socket());
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(&self.folder);
        if self.cluster {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port().to_string()]);
        }
        self.process = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        self.until(|answer| answer.is_some()).await;
        if self.cluster {
            let mut all = redis::cmd("cluster");
            all.arg("addslotsrange").arg(0).arg(16_383);
            self.ask(&all).await.unwrap();
            let state = |answer: Option<String>| answer.is_some_and(|info| info.contains("cluster_state:ok"));
            self.until(state).await;
        }
    }

    /// Asks until the answer is the one that is waited for: to `CLUSTER INFO`, or `PING`.
    async fn until(&self, done: impl Fn(Option<String>) -> bool) {
        let question = if self.cluster { "cluster" } else { "ping" };
        let begun = Instant::now();
        loop {
            let mut command = redis::cmd(question);
            if self.cluster {
                command.arg("info");
            }
            let answer = self.ask(&command).await.ok();
            if done(answer.and_then(|value| redis::from_redis_value(value).ok())) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "redis-server does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn ask(&self, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.url())?.get_multiplexed_async_connection().await?;
        command.query_async(&mut connection).await
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        redis::from_redis_value(self.ask(redis::cmd("keys").arg("*")).await.unwrap()).unwrap()
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Stops it where it stands, or lets it go on.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}
