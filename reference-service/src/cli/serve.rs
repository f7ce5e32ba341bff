//! `formwork serve`, and what `demo` shares with it.

use std::{future::IntoFuture, net::SocketAddr, path::Path, time::Duration};

use clap::Args;
use formwork_tenancy::Tenants;
use tokio::net::TcpListener;

use super::Failure;
use crate::{app::App, databases::Databases, router::router, token::Tokens};

/// How long requests may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:8080", env = "FORMWORK_LISTEN")]
    listen: SocketAddr,
    /// Tenants answer as <slug>.<domain>; may be given more than once.
    #[arg(long, default_value = "localhost", env = "FORMWORK_BASE_DOMAIN")]
    base_domain: Vec<String>,
    /// The most database connections.
    #[arg(long, default_value_t = 20, env = "FORMWORK_MAX_CONNECTIONS")]
    max_connections: u32,
    /// DATABASE_URL is a pooler in transaction mode.
    #[arg(long, env = "FORMWORK_TRANSACTION_POOLER")]
    transaction_pooler: bool,
}

impl Serve {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let listener = listen(self.listen).await?;
        let mut builder = Tenants::builder().max_connections(self.max_connections);
        for domain in &self.base_domain {
            builder = builder.base_domain(domain);
        }
        if self.transaction_pooler {
            builder = builder.transaction_pooler();
        }
        let tenants = Databases::named().tenants(builder).await?;
        let app = App::new(tenants, Tokens::open(&state.join("signing-key.pem"))?)?;
        println!("formwork listens on http://{}", listener.local_addr()?);
        serve(listener, app).await
    }
}

pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {} is taken: stop what listens there, or choose another one", address.port()).into()
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("port {} needs rights that this user lacks: choose one above 1023", address.port()).into()
        }
        _ => format!("cannot listen on {address}: {error}").into(),
    })
}

/// Serves until a stop is asked for, then lets requests end.
pub(super) async fn serve(listener: TcpListener, app: App) -> Result<(), Failure> {
    let tenants = app.tenants.clone();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async {
        let _ = stopped.await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        ended = &mut serving => ended??,
        asked = stop_asked() => {
            asked?;
            let _ = stop.send(());
            if let Ok(ended) = tokio::time::timeout(DRAIN, serving).await {
                ended??;
            }
        }
    }
    tenants.close().await;
    Ok(())
}

/// Ctrl-C, or the signal by which service managers stop.
async fn stop_asked() -> Result<(), std::io::Error> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
