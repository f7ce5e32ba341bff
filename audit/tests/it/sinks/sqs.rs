//! The SQS sink, against moto, which is an SQS of one's own (`MOTO_SERVER_BIN`, `target/moto/bin` or PATH; `script/bootstrap
//! --brokers` installs it).

use std::{
    env,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use aws_sdk_sqs::{
    Client,
    config::{Config, Credentials, Region, retry::RetryConfig},
    types::{MessageSystemAttributeName, QueueAttributeName},
};
use formwork_audit::sink::{Deliverer, Retry, SqsSink};
use formwork_tenancy::Isolation;

use super::kit::{Hands, Kept, followed, recorded};
use crate::database;

struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    /// Running, or none when it is not installed.
    fn start() -> Option<Self> {
        let named = env::var_os("MOTO_SERVER_BIN").map(PathBuf::from);
        let ours = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/moto/bin/moto_server"));
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths: Vec<PathBuf> = env::split_paths(&paths).map(|folder| folder.join("moto_server")).collect();
        let Some(program) = named.into_iter().chain([ours]).chain(paths).find(|path| path.exists()) else {
            eprintln!("moto is not installed: not tested (script/bootstrap --brokers installs it)");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("Running on ")?.1.trim().to_owned()))
            .unwrap();
        // It writes a line for every request, and waits when nobody reads.
        thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address })
    }

    fn client(&self) -> Client {
        let config = Config::builder()
            .behavior_version_latest()
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .endpoint_url(&self.address)
            .build();
        Client::from_conf(config)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

async fn queue(client: &Client, name: &str) -> String {
    let mut request = client.create_queue().queue_name(name);
    if name.ends_with(".fifo") {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    request.send().await.unwrap().queue_url.unwrap()
}

/// Identity, group and body of everything in the queue, as it comes.
async fn received(client: &Client, url: &str) -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    loop {
        let page = client.receive_message().queue_url(url).max_number_of_messages(10);
        let page = page
            .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId)
            .send()
            .await
            .unwrap();
        let messages = page.messages();
        if messages.is_empty() {
            return all;
        }
        for message in messages {
            let body: serde_json::Value = serde_json::from_str(message.body().unwrap()).unwrap();
            let group =
                message.attributes().and_then(|all| all.get(&MessageSystemAttributeName::MessageGroupId));
            all.push((body["id"].as_str().unwrap().to_owned(), group.cloned()));
            let receipt = message.receipt_handle().unwrap();
            client.delete_message().queue_url(url).receipt_handle(receipt).send().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_fifo_queue_has_each_event_once_in_its_tenants_order() {
    let Some(moto) = Moto::start() else { return };
    let (db, client) = (database().await, moto.client());
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Schema).await);
    let relay = db.relay().await;
    followed(&db, &relay, "sqs", &Kept::default()).await;
    let url = queue(&client, "audit.fifo").await;
    // More than go in one call.
    let actions: Vec<String> = (0..25).map(|n| format!("step.n{n}")).collect();
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    let ofs =
        [(&a, recorded(&db, &a, &actions).await), (&b, recorded(&db, &b, &["step.one", "step.two"]).await)];
    let sink = SqsSink::new(client.clone(), &url);
    Deliverer::new(db.tenants(), &relay, "sqs", sink.clone()).run_once().await.unwrap();
    let found = received(&client, &url).await;
    assert_eq!(found.len(), 27);
    for (tenant, events) in ofs {
        let group = Some(tenant.id().to_string());
        let ids: Vec<&String> = found.iter().filter(|(_, of)| *of == group).map(|(id, _)| id).collect();
        assert_eq!(
            ids,
            events.iter().map(ToString::to_string).collect::<Vec<_>>().iter().collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_waited_for() {
    let Some(moto) = Moto::start() else { return };
    let (db, client, hands) = (database().await, moto.client(), Hands::at(0));
    let tenant = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    followed(&db, &relay, "sqs", &Kept::default()).await;
    recorded(&db, &tenant, &["step.one"]).await;
    let url = queue(&client, "audit").await;
    let sink = SqsSink::new(client.clone(), url.replace("audit", "elsewhere"));
    let deliverer =
        Deliverer::new(db.tenants(), &relay, "sqs", sink).clock(hands.clone()).retry(Retry::times(3));
    deliverer.run_once().await.unwrap();
    assert_eq!((deliverer.metrics().dead, hands.slept()), (1, vec![1, 2]));
    let there = Deliverer::new(db.tenants(), &relay, "sqs", SqsSink::new(client.clone(), &url));
    assert_eq!(there.resend(&tenant).await.unwrap().sent, 1);
    assert_eq!(received(&client, &url).await.len(), 1);
}
