//! `formwork demo`: two tenants in different isolation, on this machine only.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use clap::Args;
use formwork_tenancy::{ControlError, ControlPlane, Isolation, NewTenant, Tenants};

use super::{
    Failure, say,
    serve::{Stop, listen, serve},
};
use crate::{
    app::App,
    background::Background,
    databases::Databases,
    modules::members::{self, NewMember, Role},
    token::Tokens,
};

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Port on the loopback address.
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

struct DemoTenant {
    slug: &'static str,
    name: &'static str,
    isolation: Isolation,
    currency: &'static str,
    users: [DemoUser; 2],
}

struct DemoUser {
    email: &'static str,
    name: &'static str,
    password: &'static str,
    role: Role,
}

const TENANTS: [DemoTenant; 2] = [
    DemoTenant {
        slug: "acme",
        name: "Acme Construction",
        isolation: Isolation::Shared,
        currency: "USD",
        users: [
            DemoUser {
                email: "ada@acme.example",
                name: "Ada",
                password: "ada-builds-bridges",
                role: Role::Owner,
            },
            DemoUser {
                email: "ben@acme.example",
                name: "Ben",
                password: "ben-pours-concrete",
                role: Role::Member,
            },
        ],
    },
    DemoTenant {
        slug: "bolt",
        name: "Bolt Builders",
        isolation: Isolation::Schema,
        currency: "CAD",
        users: [
            DemoUser {
                email: "cleo@bolt.example",
                name: "Cleo",
                password: "cleo-raises-steel",
                role: Role::Owner,
            },
            DemoUser {
                email: "dan@bolt.example",
                name: "Dan",
                password: "dan-reads-drawings",
                role: Role::Member,
            },
        ],
    },
];

impl Demo {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        let mut stop = Stop::new()?;
        // Before the database is started: a taken port is told at once.
        let listener = listen(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), "--port").await?;
        let (databases, app) = tokio::select! {
            started = start(state) => started?,
            () = stop.asked() => return Ok(()),
        };
        print_greeting(listener.local_addr()?.port(), state, databases.is_private());
        let background = Background::start(&app);
        let outcome = serve(listener, app, background, &mut stop).await;
        databases.stop().await;
        outcome
    }
}

/// The database, and the service with its tenants in it.
async fn start(state: &Path) -> Result<(Databases, App), Failure> {
    let databases = Databases::named_or_private(state).await?;
    let control = databases.control().await?;
    control.migrate().await?;
    let tenants = databases.tenants(Tenants::builder().base_domain("localhost").max_connections(20)).await?;
    let app = App::new(tenants, Tokens::open(&state.join("signing-key.pem"))?)?;
    for tenant in &TENANTS {
        prepare(&app, &control, tenant).await?;
    }
    control.close().await;
    Ok((databases, app))
}

/// Makes the tenant and its users, unless they are there from an earlier run.
async fn prepare(app: &App, control: &ControlPlane, demo: &DemoTenant) -> Result<(), Failure> {
    let new = NewTenant::new(demo.slug, demo.name, demo.isolation).currency(demo.currency);
    match control.provision(&new).await {
        Ok(_) | Err(ControlError::Taken { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let tenant = super::import::tenant_named(app, demo.slug).await?;
    for user in &demo.users {
        let member =
            NewMember { email: user.email, name: user.name, password: Some(user.password), role: user.role };
        members::add(app, control, &tenant, &member).await?;
    }
    Ok(())
}

fn print_greeting(port: u16, state: &Path, private: bool) {
    say!("formwork listens on http://127.0.0.1:{port}, on this machine only");
    if private {
        say!("its data are kept in {}", state.display());
    }
    say!("\ntenants and users (these passwords are for the demo):");
    for tenant in &TENANTS {
        say!("  http://{}.localhost:{port}  {}, isolation `{}`", tenant.slug, tenant.name, tenant.isolation);
        for user in &tenant.users {
            say!("    {:<18} {:<20} {}", user.email, user.password, user.role.as_str());
        }
    }
    say!("\ntry:");
    let [acme, _] = &TENANTS;
    let [ada, _] = &acme.users;
    let base = format!("http://{}.localhost:{port}/api/v1", acme.slug);
    let login = format!(
        "curl -s {base}/auth/login -H 'Content-Type: application/json' \
         -d '{{\"email\":\"{}\",\"password\":\"{}\"}}'",
        ada.email, ada.password
    );
    let token = format!(
        "-H \"Authorization: Bearer $({login} | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\""
    );
    say!("  {login}");
    say!("  curl -s {base}/tenant {token}");
    say!(
        "  curl -s {base}/projects -H 'Content-Type: application/json' -d '{{\"name\":\"Harbour bridge\"}}' {token}"
    );
    say!("\nCtrl-C stops everything.");
}
