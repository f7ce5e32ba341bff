//! The webhook, against a server that answers what it is told to.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use formwork_audit::sink::{Deliverer, Retry, WebhookSecret, WebhookSink, WebhookSinkBuilder};
use formwork_tenancy::Isolation;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

use super::kit::{Hands, Kept, followed, recorded};
use crate::database;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Debug, Clone)]
struct Post {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Post {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// Answers posts with these texts after `HTTP/1.1`, then with 204; an empty one ends the connection unanswered.
#[derive(Debug, Clone, Default)]
struct Receiver {
    posts: Arc<Mutex<Vec<Post>>>,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
    connections: Arc<Mutex<usize>>,
}

impl Receiver {
    async fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                *receiver.connections.lock().unwrap() += 1;
                tokio::spawn(receiver.clone().serve(stream));
            }
        });
        port
    }

    fn answers(&self, answers: &[&'static str]) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// Over TLS, as `localhost`; answers the port, and the certificate in PEM.
    async fn listen_securely(&self) -> (u16, String) {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let (acceptor, listener) =
            (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let port = listener.local_addr().unwrap().port();
        let receiver = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(receiver.clone().serve(stream));
                }
            }
        });
        (port, cert.pem())
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
                if line.trim().is_empty() {
                    break;
                }
                lines.push(line.trim().to_owned());
            }
            let headers: Vec<(String, String)> = lines[1..]
                .iter()
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
                .collect();
            let mut post = Post { line: lines[0].clone(), headers, body: String::new() };
            let mut body = vec![0; post.header("content-length").parse().unwrap()];
            stream.read_exact(&mut body).await.ok()?;
            post.body = String::from_utf8(body).unwrap();
            self.posts.lock().unwrap().push(post);
            let answer = self.answers.lock().unwrap().pop_front().unwrap_or("204 No Content\r\n\r\n");
            if answer.is_empty() {
                return None;
            }
            stream.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await.ok()?;
        }
    }

    fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }
}

fn to(port: u16) -> WebhookSinkBuilder {
    let secret: WebhookSecret = SECRET.parse().unwrap();
    WebhookSink::builder(format!("http://127.0.0.1:{port}/hooks/audit?x=1"), secret)
}

#[tokio::test]
async fn an_event_is_posted_signed_and_again_until_it_is_taken() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, receiver, hands) = (db.relay().await, Receiver::default(), Hands::at(1_700_000_000));
    followed(&db, &relay, "hook", &Kept::default()).await;
    let events = recorded(&db, &tenant, &["step.one", "step.two", "step.three", "step.four"]).await;
    let other: WebhookSecret = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".parse().unwrap();
    let sink = to(receiver.listen().await)
        .allow("127.0.0.0/8".parse().unwrap())
        .also_signed_with(other.clone())
        .clock(hands.clone())
        .build()
        .unwrap();
    let deliverer =
        Deliverer::new(db.tenants(), &relay, "hook", sink).clock(hands.clone()).retry(Retry::times(4));
    receiver.answers(&[
        "503 Away\r\ncontent-length: 0\r\nretry-after: 5\r\n\r\n",
        "200 OK\r\ncontent-length: 2\r\n\r\nok",
        // Refused: the third and no other is a dead letter.
        "204 No Content\r\n\r\n",
        "422 No\r\ncontent-length: 0\r\n\r\n",
        // A redirect is not followed; it is no answer that takes anything.
        "307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "500 No\r\ncontent-length: 0\r\n\r\n",
    ]);
    deliverer.run_once().await.unwrap();

    let posts = receiver.posts();
    let ids: Vec<&str> = posts.iter().map(|post| post.header("webhook-id")).collect();
    let [one, two, three, four] = &events.iter().map(ToString::to_string).collect::<Vec<_>>()[..] else {
        panic!()
    };
    assert_eq!(ids, [one, one, two, three, four, four, four]);
    assert_eq!(hands.slept(), [5, 1, 2]);
    let metrics = deliverer.metrics();
    assert_eq!((metrics.delivered, metrics.retried, metrics.dead), (3, 3, 1));
    let second = &posts[1];
    assert_eq!(second.line, "POST /hooks/audit?x=1 HTTP/1.1");
    assert_eq!(second.header("content-type"), "application/json");
    assert!(second.header("host").starts_with("127.0.0.1:"));
    // The time of this attempt, five seconds after the first.
    assert_eq!(second.header("webhook-timestamp"), "1700000005");
    let secret: WebhookSecret = SECRET.parse().unwrap();
    let sign = |secret: &WebhookSecret| secret.sign(one, 1_700_000_005, &second.body);
    assert_eq!(second.header("webhook-signature"), format!("{} {}", sign(&secret), sign(&other)));
    assert!(second.body.contains("\"action\":\"step.one\""), "{}", second.body);
    assert_eq!(*receiver.connections.lock().unwrap(), 1, "one connection serves all");
}

#[tokio::test]
async fn a_connection_that_has_ended_is_made_anew() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, receiver, hands) = (db.relay().await, Receiver::default(), Hands::at(0));
    followed(&db, &relay, "hook", &Kept::default()).await;
    recorded(&db, &tenant, &["step.one", "step.two"]).await;
    let sink = to(receiver.listen().await).allow("127.0.0.1".parse().unwrap()).build().unwrap();
    let deliverer = Deliverer::new(db.tenants(), &relay, "hook", sink).clock(hands.clone());
    receiver.answers(&["204 No Content\r\n\r\n", ""]);
    deliverer.run_once().await.unwrap();
    assert_eq!((receiver.posts().len(), *receiver.connections.lock().unwrap()), (3, 2));
    assert_eq!(hands.slept(), [0; 0]);
}

#[tokio::test]
async fn no_webhook_goes_into_the_services_own_network() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, receiver) = (db.relay().await, Receiver::default());
    followed(&db, &relay, "hook", &Kept::default()).await;
    let port = receiver.listen().await;
    let secret: WebhookSecret = SECRET.parse().unwrap();
    for (number, host) in
        ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"].iter().enumerate()
    {
        recorded(&db, &tenant, &["step.one"]).await;
        let url = format!("http://{host}:{port}/");
        let sink =
            WebhookSink::builder(url, secret.clone()).allow("10.0.0.0/8".parse().unwrap()).build().unwrap();
        let deliverer = Deliverer::new(db.tenants(), &relay, "hook", sink).retry(Retry::times(1));
        deliverer.run_once().await.unwrap();
        assert_eq!(deliverer.metrics().dead, 1, "{number}");
    }
    assert_eq!(*receiver.connections.lock().unwrap(), 0);
    let mut tx = db.service(&tenant).begin_read().await;
    let letters = formwork_audit::sink::DeadLetters::list(&mut tx, "hook", None, 10).await.unwrap().letters;
    let why = "the sink cannot be reached: `127.0.0.1` is at 127.0.0.1, which is not public: allow that network if it may be";
    assert_eq!(letters[0].reason, why);
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_gets_nothing() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let (relay, receiver) = (db.relay().await, Receiver::default());
    followed(&db, &relay, "hook", &Kept::default()).await;
    recorded(&db, &tenant, &["step.one"]).await;
    let (port, certificate) = receiver.listen_securely().await;
    let secure = || {
        let secret: WebhookSecret = SECRET.parse().unwrap();
        WebhookSink::builder(format!("https://localhost:{port}/"), secret)
            .allow("127.0.0.1".parse().unwrap())
            .allow("::1".parse().unwrap())
    };
    let deliverer =
        |sink: WebhookSink| Deliverer::new(db.tenants(), &relay, "hook", sink).retry(Retry::times(1));
    deliverer(secure().build().unwrap()).run_once().await.unwrap();
    assert_eq!(receiver.posts().len(), 0);
    // Its own certificate is trusted now, and under its own name only.
    let trusting = secure().authorities(certificate.clone()).build().unwrap();
    assert_eq!(deliverer(trusting).resend(&tenant).await.unwrap().sent, 1);
    recorded(&db, &tenant, &["step.two"]).await;
    let other = WebhookSink::builder(format!("https://127.0.0.1:{port}/"), SECRET.parse().unwrap())
        .allow("127.0.0.1".parse().unwrap())
        .authorities(certificate)
        .build()
        .unwrap();
    let other = deliverer(other);
    other.run_once().await.unwrap();
    assert_eq!((other.metrics().dead, receiver.posts().len()), (1, 1));
}

#[tokio::test]
async fn a_receiver_that_does_not_answer_is_given_up() {
    let db = database().await;
    let tenant = db.tenant("a", Isolation::Shared).await;
    let relay = db.relay().await;
    followed(&db, &relay, "hook", &Kept::default()).await;
    recorded(&db, &tenant, &["step.one"]).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let sink =
        to(port).allow("127.0.0.1".parse().unwrap()).timeout(Duration::from_millis(50)).build().unwrap();
    let deliverer = Deliverer::new(db.tenants(), &relay, "hook", sink).retry(Retry::times(1));
    deliverer.run_once().await.unwrap();
    assert_eq!(deliverer.metrics().dead, 1);
}

#[test]
fn what_is_no_webhook_is_refused() {
    let secret: WebhookSecret = SECRET.parse().unwrap();
    for url in
        ["", "example.com", "ftp://example.com/", "https://", "https://user:pass@example.com/", "/path"]
    {
        let error = WebhookSink::builder(url, secret.clone()).build().unwrap_err();
        assert_eq!(error.to_string(), format!("`{url}` is not an address like `https://host/path`"));
    }
    for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"] {
        assert!(text.parse::<WebhookSecret>().is_err(), "{text}");
    }
    let nothing =
        WebhookSink::builder("https://example.com/", secret).authorities("none").build().unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "the certificates of the authorities cannot be read: there is none in them"
    );
}
