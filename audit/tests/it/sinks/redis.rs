//! The Redis stream, in a real Redis.

use std::collections::HashMap;

use formwork_audit::sink::{Deliverer, RedisSink};
use formwork_tenancy::Isolation;

use super::kit::{Hands, Kept, followed, recorded};
use crate::{database, redis_server::Server};

type Entries = Vec<(String, HashMap<String, String>)>;

async fn entries(server: &Server, stream: &str) -> Entries {
    let found = server.ask(redis::cmd("xrange").arg(stream).arg("-").arg("+")).await.unwrap();
    redis::from_redis_value(found).unwrap()
}

#[tokio::test]
async fn events_stand_in_the_stream_in_order_and_a_server_that_goes_is_waited_for() {
    let Some(mut server) = Server::start(false).await else { return };
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let (relay, hands) = (db.relay().await, Hands::at(0));
    followed(&db, &relay, "redis", &Kept::default()).await;
    let sink = RedisSink::new(&server.url(), "audit").unwrap();
    let deliverer = Deliverer::new(db.tenants(), &relay, "redis", sink).clock(hands.clone());
    let mut expected = recorded(&db, &a, &["step.one", "step.two"]).await;
    expected.extend(recorded(&db, &b, &["step.three"]).await);
    deliverer.run_once().await.unwrap();
    let found = entries(&server, "audit").await;
    let ids: Vec<&str> = found.iter().map(|(_, fields)| fields["id"].as_str()).collect();
    assert_eq!(ids, expected.iter().map(ToString::to_string).collect::<Vec<_>>());
    let (_, last) = found.last().unwrap();
    assert_eq!((last["tenant"].clone(), last["action"].as_str()), (b.id().to_string(), "step.three"));
    assert!(last["event"].contains("\"action\":\"step.three\""), "{last:?}");

    server.kill();
    let later = recorded(&db, &a, &["step.four"]).await;
    let run = tokio::spawn({
        let deliverer = deliverer.clone();
        async move { deliverer.run_once().await }
    });
    while deliverer.metrics().retried == 0 {
        tokio::task::yield_now().await;
    }
    server.up().await;
    run.await.unwrap().unwrap();
    let found = entries(&server, "audit").await;
    assert_eq!(found.last().unwrap().1["id"], later[0].to_string());
}

#[tokio::test]
async fn a_tenant_may_have_a_stream_of_its_own() {
    let Some(server) = Server::start(false).await else { return };
    let db = database().await;
    let (a, b) = (db.tenant("a", Isolation::Shared).await, db.tenant("b", Isolation::Shared).await);
    let relay = db.relay().await;
    followed(&db, &relay, "redis", &Kept::default()).await;
    let sink = RedisSink::new(&server.url(), "audit").unwrap().by_tenant().at_most(1_000);
    recorded(&db, &a, &["step.one"]).await;
    recorded(&db, &b, &["step.two"]).await;
    Deliverer::new(db.tenants(), &relay, "redis", sink).run_once().await.unwrap();
    for (tenant, action) in [(a, "step.one"), (b, "step.two")] {
        let found = entries(&server, &format!("audit:{}", tenant.id())).await;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1["action"], action);
    }
    assert!(RedisSink::new("http://localhost", "audit").is_err());
}
