//! AWS KMS, as a local server speaks it.
//!
//! `moto` (`MOTO_SERVER_BIN`, `target/moto/bin` or PATH; `script/bootstrap --kms` installs it) keeps aliases,
//! encryption contexts and states of keys, but goes on to use a key that is to be deleted. What KMS answers then, a
//! server of a few lines plays.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use aws_sdk_kms::{
    Client, Config,
    config::{Credentials, Region, retry::RetryConfig},
    types::KeyState,
};
use formwork_tenancy::{
    Actor, Isolation, Session, TenantId,
    keys::{AwsKms, Field, KeyContext, KeyError, KeyProvider, Keys, ProviderError, Purpose, SecretKey},
    testing::TestDatabase,
};
use uuid::Uuid;

struct Moto {
    process: Child,
    address: String,
}

impl Moto {
    fn program() -> Option<PathBuf> {
        let named = env::var_os("MOTO_SERVER_BIN").map(PathBuf::from);
        let ours = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/moto/bin/moto_server"));
        let paths = env::var_os("PATH").unwrap_or_default();
        let paths: Vec<PathBuf> = env::split_paths(&paths).map(|folder| folder.join("moto_server")).collect();
        named.into_iter().chain([ours]).chain(paths).find(|path| path.exists())
    }

    /// Running, or none when it is not installed.
    fn start() -> Option<Self> {
        let Some(program) = Self::program() else {
            eprintln!("moto is not installed: not tested (script/bootstrap --kms installs it)");
            return None;
        };
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap().split_once("Running on ").map(|(_, address)| address.trim().to_owned())
            })
            .unwrap();
        // It writes a line for every request, and waits when nobody reads.
        thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address })
    }

    /// As when the days have passed after which KMS deletes a key.
    fn forget_everything(&self) {
        let host = self.address.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "POST /moto-api/reset HTTP/1.0\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("200"), "{answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn client(address: &str) -> Client {
    let config = Config::builder()
        .behavior_version_latest()
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(address)
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn each_tenant_has_a_key_of_its_own_and_its_context_is_held() {
    let Some(moto) = Moto::start() else { return };
    let kms = AwsKms::new(client(&moto.address), "formwork");
    let (a, b, key) = (TenantId::generate(), TenantId::generate(), SecretKey::generate().unwrap());
    let context = KeyContext::new(a, Purpose::Data, 1);
    let wrapped = kms.wrap(&context, &key).await.unwrap();
    assert!(!wrapped.bytes().windows(32).any(|bytes| bytes == key.expose()));
    assert_eq!(kms.current(a).await.unwrap(), wrapped.provider_key());
    assert_ne!(kms.current(b).await.unwrap(), wrapped.provider_key());
    let other_process = AwsKms::new(client(&moto.address), "formwork");
    assert_eq!(other_process.unwrap(&context, &wrapped).await.unwrap().expose(), key.expose());
    let others = [
        KeyContext::new(b, Purpose::Data, 1),
        KeyContext::new(a, Purpose::Index, 1),
        KeyContext::new(a, Purpose::Data, 2),
    ];
    for other in others {
        let error = kms.unwrap(&other, &wrapped).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
        assert!(error.to_string().contains("InvalidCiphertextException"), "{error}");
    }
}

#[tokio::test]
async fn a_tenant_is_sealed_opened_and_shredded() {
    let Some(moto) = Moto::start() else { return };
    let kms = AwsKms::new(client(&moto.address), "formwork");
    let db = TestDatabase::new(&[formwork_migrations::TENANCY]).await;
    let session = Session::new(&db.tenant("a", Isolation::Shared).await, Actor::system("test"));
    let place = Field::new("people", "passport", Uuid::now_v7());
    let keys = Keys::new(kms.clone());
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let sealed = keys.seal(&mut tx, "X1234567", place).await.unwrap();
    tx.commit().await.unwrap();

    let open_anew = async || {
        let keys = Keys::new(kms.clone());
        let mut tx = db.tenants().begin_read(&session).await.unwrap();
        keys.open(&mut tx, &sealed, place).await
    };
    assert_eq!(open_anew().await.unwrap(), "X1234567");
    let mut tx = db.tenants().begin_read(&session).await.unwrap();
    let line: (String, Vec<u8>) =
        sqlx::query_as("select provider_key, wrapped from tenant_keys").fetch_one(&mut *tx).await.unwrap();
    drop(tx);

    for _ in 0..2 {
        keys.shred(db.tenants(), &session).await.unwrap();
    }
    let described = client(&moto.address).describe_key().key_id(&line.0).send().await.unwrap();
    assert_eq!(described.key_metadata.unwrap().key_state, Some(KeyState::PendingDeletion));
    assert!(matches!(open_anew().await, Err(KeyError::Shredded { .. })));
    let context = KeyContext::new(session.tenant_id(), Purpose::Data, 2);
    let anew = kms.wrap(&context, &SecretKey::generate().unwrap()).await;
    assert!(matches!(anew, Err(ProviderError::Destroyed)), "{anew:?}");

    // The lines of a backup are brought back after the key has been deleted.
    moto.forget_everything();
    let mut tx = db.tenants().begin(&session).await.unwrap();
    sqlx::query("delete from tenant_keys").execute(&mut *tx).await.unwrap();
    sqlx::query(
        "insert into tenant_keys (purpose, version, provider_key, wrapped) values ('data', 1, $1, $2)",
    )
    .bind(&line.0)
    .bind(&line.1)
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(open_anew().await, Err(KeyError::Shredded { .. })));
}

#[tokio::test]
async fn ten_first_uses_at_once_make_one_key() {
    let Some(moto) = Moto::start() else { return };
    let tenant = TenantId::generate();
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let kms = AwsKms::new(client(&moto.address), "formwork");
            tokio::spawn(async move { kms.current(tenant).await.unwrap() })
        })
        .collect();
    let mut named = Vec::new();
    for task in tasks {
        named.push(task.await.unwrap());
    }
    named.dedup();
    assert_eq!(named.len(), 1, "{named:?}");
}

/// Answers `Decrypt` with this error, and says of the key that it is in this state.
fn server(error: &'static str, state: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut describe) = (0, false);
            loop {
                let mut line = String::new();
                request.read_line(&mut line).unwrap();
                let line = line.trim().to_ascii_lowercase();
                describe |= line.ends_with("describekey");
                if let Some(value) = line.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            request.read_exact(&mut vec![0; length]).unwrap();
            let (status, body) = match describe {
                true => ("200 OK", format!(r#"{{"KeyMetadata":{{"KeyId":"k","KeyState":"{state}"}}}}"#)),
                false => ("400 Bad Request", format!(r#"{{"__type":"{error}","message":"so it is"}}"#)),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n");
            let rest = format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all((head + &rest).as_bytes()).unwrap();
        }
    });
    address
}

#[tokio::test]
async fn what_kms_answers_is_told_apart() {
    let context = KeyContext::new(TenantId::generate(), Purpose::Data, 1);
    let wrapped = formwork_tenancy::keys::WrappedKey::new("arn:aws:kms:eu-west-1:1:key/k", vec![1; 40]);
    let unwrap = async |address: &str| {
        AwsKms::new(client(address), "formwork").unwrap(&context, &wrapped).await.unwrap_err()
    };
    let gone = unwrap(&server("KMSInvalidStateException", "PendingDeletion")).await;
    assert!(matches!(gone, ProviderError::Destroyed), "{gone}");
    let off = unwrap(&server("KMSInvalidStateException", "Disabled")).await.to_string();
    assert!(off.contains("enable it"), "{off}");
    let deleted = unwrap(&server("NotFoundException", "Enabled")).await;
    assert!(matches!(deleted, ProviderError::Destroyed), "{deleted}");
    let denied = unwrap(&server("AccessDeniedException", "Enabled")).await;
    assert!(!denied.is_retryable() && denied.to_string().contains("so it is"), "{denied}");
    let busy = unwrap(&server("ThrottlingException", "Enabled")).await;
    assert!(busy.is_retryable(), "{busy}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(unwrap(&format!("http://{nobody}")).await.is_retryable());
}
