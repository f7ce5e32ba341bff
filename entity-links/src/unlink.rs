//! Taking a link away: whoever may link one of its ends may.

use formwork_tenancy::TenantTx;
use uuid::Uuid;

use crate::{LinkError, Links, StoredLink, links::COLUMNS};

impl Links {
    /// Takes the link away.
    ///
    /// # Errors
    ///
    /// [`LinkError::NoSuchLink`] when there is none, or the actor may not see both its ends;
    /// [`LinkError::Denied`] when they may link neither.
    pub async fn unlink(&self, tx: &mut TenantTx, id: Uuid) -> Result<StoredLink, LinkError> {
        let sql = format!("select {COLUMNS} from entity_links where id = $1 for update");
        let link: Option<StoredLink> =
            sqlx::query_as(sqlx::AssertSqlSafe(sql)).bind(id).fetch_optional(&mut **tx).await?;
        let link = link.ok_or(LinkError::NoSuchLink)?;
        if !(self.may_view(tx, &link.source).await? && self.may_view(tx, &link.target).await?) {
            return Err(LinkError::NoSuchLink);
        }
        let grant = match self.may_link(tx, &link.source).await {
            Err(LinkError::Denied { .. }) => self.may_link(tx, &link.target).await?,
            decided => decided?,
        };
        sqlx::query("delete from entity_links where id = $1").bind(id).execute(&mut **tx).await?;
        self.announce(tx, "entity.unlinked", &link, &grant).await?;
        Ok(link)
    }
}
