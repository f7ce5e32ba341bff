//! The RabbitMQ sink, against a broker of the test's own (`RABBITMQ_SERVER_BIN` or where Debian puts it; `script/bootstrap
//! --brokers` installs it).

use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use formwork_audit::sink::{Deliverer, RabbitSink, Retry};
use formwork_tenancy::Isolation;
use lapin::{
    Connection, ConnectionProperties, ExchangeKind,
    options::{BasicGetOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

use super::kit::{Hands, Kept, followed, recorded};
use crate::database;

/// A broker and the name server of its runtime, on loopback alone.
struct Broker {
    folder: tempfile::TempDir,
    names: Child,
    port: u16,
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Broker {
    /// Running, or none when it is not installed.
    fn start() -> Option<Self> {
        let named = env::var_os("RABBITMQ_SERVER_BIN").map(PathBuf::from);
        let known = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
        let Some(program) = named.into_iter().chain([known]).find(|path| path.exists()) else {
            eprintln!("RabbitMQ is not installed: not tested (script/bootstrap --brokers installs it)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let (port, names_port) = (free_port(), free_port());
        let names = Command::new("epmd")
            .args(["-address", "127.0.0.1", "-port", &names_port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("plugins"), "[].").unwrap();
        let log = File::create(path("log")).unwrap();
        Command::new(program)
            .env("HOME", folder.path())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", names_port.to_string())
            .env("RABBITMQ_NODENAME", "formwork@localhost")
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", port.to_string())
            .env("RABBITMQ_DIST_PORT", free_port().to_string())
            .env("RABBITMQ_MNESIA_BASE", path("db"))
            .env("RABBITMQ_LOG_BASE", path("logs"))
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONF_ENV_FILE", path("none"))
            .env("RABBITMQ_CONFIG_FILE", path("none"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let broker = Self { folder, names, port };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = || fs::read_to_string(broker.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(120), "{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(broker)
    }

    fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its shell has told the runtime's own process.
        if let Ok(pid) = fs::read_to_string(self.folder.path().join("pid")) {
            let _ = Command::new("kill").args(["-9", pid.trim()]).status();
        }
        let _ = self.names.kill();
        let _ = self.names.wait();
    }
}

#[tokio::test]
async fn events_reach_the_queues_that_are_bound_and_what_no_queue_takes_is_not_lost() {
    let Some(broker) = Broker::start() else { return };
    let (db, hands) = (database().await, Hands::at(0));
    let tenant = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    followed(&db, &relay, "rabbit", &Kept::default()).await;
    let connection = Connection::connect(&broker.url(), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let table = FieldTable::default;
    let (exchange, queue) = ("audit", "siem");
    channel
        .exchange_declare(exchange.into(), ExchangeKind::Topic, ExchangeDeclareOptions::default(), table())
        .await
        .unwrap();
    channel.queue_declare(queue.into(), QueueDeclareOptions::default(), table()).await.unwrap();
    channel
        .queue_bind(queue.into(), exchange.into(), "step.*".into(), QueueBindOptions::default(), table())
        .await
        .unwrap();

    let events = recorded(&db, &tenant, &["step.one", "step.two", "other.one", "step.three"]).await;
    let deliverer = Deliverer::new(db.tenants(), &relay, "rabbit", RabbitSink::new(broker.url(), exchange))
        .clock(hands.clone())
        .retry(Retry::times(2));
    deliverer.run_once().await.unwrap();
    let mut ids = Vec::new();
    while let Some(got) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap() {
        let properties = &got.delivery.properties;
        assert_eq!(properties.delivery_mode(), &Some(2));
        let body: serde_json::Value = serde_json::from_slice(&got.delivery.data).unwrap();
        let id = properties.message_id().as_ref().unwrap().to_string();
        assert_eq!(body["id"], id);
        ids.push(id);
    }
    // The last one came twice: it was on its way when the one before it was given back.
    let expected = [events[0], events[1], events[3], events[3]].map(|id| id.to_string());
    assert_eq!(ids, expected);
    assert_eq!((deliverer.metrics().dead, hands.slept()), (1, vec![1]));
    let mut tx = db.service(&tenant).begin_read().await;
    let letters = formwork_audit::sink::DeadLetters::list(&mut tx, "rabbit", None, 10).await.unwrap().letters;
    assert_eq!(
        (letters[0].event_id, letters[0].reason.as_str()),
        (events[2], "the sink cannot be reached: no queue takes the event")
    );
}
