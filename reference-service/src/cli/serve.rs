//! `formwork serve`, and what `demo` shares with it.

use std::{future::IntoFuture, net::SocketAddr, path::Path, time::Duration};

use clap::Args;
use formwork_tenancy::{Tenants, doctor::DoctorConfig};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use super::{Failure, say, sealing::Sealing};
use crate::{
    app::App,
    background::Background,
    databases::{Databases, sets},
    router::router,
    token::Tokens,
};

/// How long requests may go on after a stop was asked for.
const DRAIN: Duration = Duration::from_secs(10);
/// How long database connections may take to close.
const CLOSE: Duration = Duration::from_secs(2);

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
    /// The most connections to all databases and replicas together.
    #[arg(long, env = "FORMWORK_MAX_CONNECTIONS_TOTAL")]
    max_connections_total: Option<u32>,
    /// The region that this process serves: requests for tenants of another are answered with 421 and the place to go.
    #[arg(long, env = "FORMWORK_REGION")]
    region: Option<String>,
    /// How many seconds old a read may be that does not say what it must see; only with FORMWORK_REPLICAS.
    #[arg(long, env = "FORMWORK_READ_STALENESS", value_name = "SECONDS")]
    read_staleness: Option<u64>,
    /// DATABASE_URL is a pooler in transaction mode.
    #[arg(long, env = "FORMWORK_TRANSACTION_POOLER")]
    transaction_pooler: bool,
    /// Serve although the doctor finds fault with the database login.
    #[arg(long)]
    despite_the_doctor: bool,
    #[command(flatten)]
    sealing: Sealing,
}

impl Serve {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let mut stop = Stop::new()?;
        let listener = listen(self.listen, "--listen").await?;
        let mut builder = Tenants::builder().supports(&sets()).max_connections(self.max_connections);
        for domain in &self.base_domain {
            builder = builder.base_domain(domain);
        }
        if self.transaction_pooler {
            builder = builder.transaction_pooler();
        }
        if let Some(total) = self.max_connections_total {
            builder = builder.max_connections_total(total);
        }
        if let Some(region) = &self.region {
            builder = builder.region(region);
        }
        if let Some(seconds) = self.read_staleness {
            builder = builder.read_staleness(Duration::from_secs(seconds));
        }
        let databases = Databases::named();
        let tenants = tokio::select! {
            tenants = databases.tenants(builder) => tenants?,
            () = stop.asked() => return Ok(()),
        };
        self.examine(&tenants).await?;
        let app = App::new(tenants, Tokens::open(&state.join("signing-key.pem"))?)?;
        let mut background = Background::start(&app);
        self.sealing.begin(&databases, &mut background).await?;
        say!("formwork listens on http://{}", listener.local_addr()?);
        serve(listener, app, background, &mut stop).await
    }
}

impl Serve {
    /// A login that can get round row security serves nobody, unless somebody has said so; then loudly.
    async fn examine(&self, tenants: &Tenants) -> Result<(), Failure> {
        let report = tenants.doctor_login(&DoctorConfig::new()).await?;
        if report.is_healthy() {
            return Ok(());
        }
        eprintln!("{report}");
        if self.despite_the_doctor {
            tracing::error!("serving although the doctor finds fault with the database login");
            return Ok(());
        }
        Err("the database login is not safe to serve with: do what the remedies above say, or serve with \
             --despite-the-doctor"
            .into())
    }
}

/// `option` is what chooses another address.
pub(super) async fn listen(address: SocketAddr, option: &str) -> Result<TcpListener, Failure> {
    let port = address.port();
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port {port} is taken: stop what listens there, or choose another one with {option}")
                .into()
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("this user may not listen on port {port}: choose one above 1023 with {option}").into()
        }
        _ => format!("cannot listen on {address}: choose another address with {option} ({error})").into(),
    })
}

/// Serves until a stop is asked for, then lets requests end; asked twice, it does not wait for them.
pub(super) async fn serve(
    listener: TcpListener,
    app: App,
    background: Background,
    stop: &mut Stop,
) -> Result<(), Failure> {
    let tenants = app.tenants.clone();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let (drain, draining) = tokio::sync::oneshot::channel::<()>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async {
        let _ = draining.await;
    });
    let mut serving = tokio::spawn(serving.into_future());
    tokio::select! {
        ended = &mut serving => ended??,
        () = stop.asked() => {
            let _ = drain.send(());
            tokio::select! {
                ended = &mut serving => ended??,
                () = stop.asked() => {}
                () = tokio::time::sleep(DRAIN) => {}
            }
            serving.abort();
        }
    }
    background.stop().await;
    // Waits for connections that are in use, which a request that hangs would keep.
    let _ = tokio::time::timeout(CLOSE, tenants.close()).await;
    Ok(())
}

/// Ctrl-C, or the signal by which service managers stop. From its making on, neither ends the program at once.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    pub(super) fn new() -> Result<Self, std::io::Error> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when a stop is asked for.
    pub(super) async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
