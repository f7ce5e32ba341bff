//! A Redis of the bench's own, on a local socket.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

pub(crate) struct Server {
    process: Child,
    folder: PathBuf,
}

impl Server {
    pub(crate) fn start() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("formwork-bench-redis-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(folder.join("s"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Self { process, folder })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.folder.join("s").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
