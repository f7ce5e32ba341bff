//! Posts over one connection at a time, to an address that was looked at, and follows no redirect.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use http::{Request, StatusCode, Uri, header::HeaderMap, uri::Scheme};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Mutex,
};
use tokio_rustls::TlsConnector;

use super::{
    address::{Network, is_public},
    sign::InvalidWebhook,
};

type Failure = Box<dyn Error + Send + Sync>;
type Sender = SendRequest<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Poster {
    uri: Uri,
    host: String,
    port: u16,
    allowed: Vec<Network>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    open: Mutex<Option<Sender>>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
}

impl Poster {
    pub(super) fn new(
        url: &str,
        allowed: Vec<Network>,
        roots: RootCertStore,
        timeout: Duration,
    ) -> Result<Self, InvalidWebhook> {
        let invalid = || InvalidWebhook::Address { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let is_secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(invalid()),
        };
        let authority =
            uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(invalid)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        if host.is_empty() {
            return Err(invalid());
        }
        let tls = is_secure.then(|| tls(roots)).transpose()?;
        Ok(Self { uri, host, port, allowed, tls, timeout, open: Mutex::new(None) })
    }

    /// Posts once. On a connection that was used before it may have ended meanwhile: then once more on a new one.
    pub(super) async fn post(&self, headers: HeaderMap, body: String) -> Result<Answer, Failure> {
        match tokio::time::timeout(self.timeout, self.try_post(headers, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {:?}", self.timeout).into()),
        }
    }

    async fn try_post(&self, headers: HeaderMap, body: String) -> Result<Answer, Failure> {
        // Taken out: given up in the middle, it is closed.
        let used = self.open.lock().await.take();
        if let Some(mut sender) = used
            && sender.ready().await.is_ok()
            && let Ok(answer) = self.exchange(sender, headers.clone(), body.clone()).await
        {
            return Ok(answer);
        }
        let sender = self.connect().await?;
        self.exchange(sender, headers, body).await
    }

    async fn exchange(
        &self,
        mut sender: Sender,
        headers: HeaderMap,
        body: String,
    ) -> Result<Answer, Failure> {
        let mut request = Request::post(self.uri.path_and_query().map_or("/", |path| path.as_str()));
        if let Some(given) = request.headers_mut() {
            *given = headers;
            let authority = self.uri.authority().map_or("", |authority| authority.as_str());
            given.insert(http::header::HOST, authority.parse()?);
        }
        let answer = sender.send_request(request.body(Full::from(body))?).await?;
        let (parts, body) = answer.into_parts();
        // A body that is not read would stand before the next answer; one that is long is nobody's business.
        if hyper::body::Body::size_hint(&body).upper().is_some_and(|size| size <= 64 * 1024) {
            http_body_util::BodyExt::collect(body).await?;
            *self.open.lock().await = Some(sender);
        }
        Ok(Answer { status: parts.status, headers: parts.headers })
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let stream = self.reach().await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => shake_hands(stream).await,
            Some(config) => {
                let name = ServerName::try_from(self.host.clone())?;
                shake_hands(TlsConnector::from(Arc::clone(config)).connect(name, stream).await?).await
            }
        }
    }

    /// The first of its addresses that answers; when one of them may not be, none is tried.
    async fn reach(&self) -> Result<TcpStream, Failure> {
        let addresses: Vec<SocketAddr> =
            tokio::net::lookup_host((self.host.as_str(), self.port)).await?.collect();
        for address in &addresses {
            self.look_at(*address)?;
        }
        let mut last = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last.map_or_else(|| "the host has no address".into(), Into::into))
    }

    fn look_at(&self, address: SocketAddr) -> Result<(), Failure> {
        let ip = address.ip().to_canonical();
        if self.allowed.iter().any(|network| network.contains(ip)) {
            return Ok(());
        }
        if !is_public(ip) {
            return Err(format!(
                "`{}` is at {ip}, which is not public: allow that network if it may be",
                self.host
            )
            .into());
        }
        match self.tls {
            Some(_) => Ok(()),
            None => Err(format!("`{}` is at {ip}: use https, or allow that network", self.host).into()),
        }
    }
}

async fn shake_hands<S>(stream: S) -> Result<Sender, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends when the sender is dropped.
    drop(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a webhook's connection ended");
        }
    }));
    Ok(sender)
}

fn tls(roots: RootCertStore) -> Result<Arc<ClientConfig>, InvalidWebhook> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidWebhook::Authorities { reason: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
