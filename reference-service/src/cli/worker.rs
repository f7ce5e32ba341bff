//! `formwork worker`: what runs beside the requests, without any.

use std::path::Path;

use clap::Args;
use formwork_tenancy::Tenants;

use super::{Failure, say, sealing::Sealing, serve::Stop};
use crate::{
    app::App,
    background::Background,
    databases::{Databases, sets},
    token::Tokens,
};

#[derive(Debug, Args)]
pub(super) struct Worker {
    /// The most database connections.
    #[arg(long, default_value_t = 8, env = "FORMWORK_WORKER_CONNECTIONS")]
    max_connections: u32,
    #[command(flatten)]
    sealing: Sealing,
}

impl Worker {
    pub(super) async fn run(self, state: &Path) -> Result<(), Failure> {
        if !self.sealing.is_wanted() {
            return Err("there is nothing to do: name a key to seal with by --seal-key".into());
        }
        let mut stop = Stop::new()?;
        let databases = Databases::named();
        let builder = Tenants::builder().supports(&sets()).max_connections(self.max_connections);
        let tenants = tokio::select! {
            tenants = databases.tenants(builder) => tenants?,
            () = stop.asked() => return Ok(()),
        };
        let app = App::new(tenants.clone(), Tokens::open(&state.join("signing-key.pem"))?)?;
        let mut background = Background::start(&app);
        self.sealing.begin(&databases, &mut background).await?;
        say!("formwork works");
        stop.asked().await;
        background.stop().await;
        tenants.close().await;
        Ok(())
    }
}
