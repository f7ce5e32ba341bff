//! `formwork audit seal`, `verify` and `prove`, and a trail that moves with its tenant.

use std::fs;

use serde_json::Value;

use crate::cli_move::Two;

/// A tenant with a trail of logins of a person that is made.
async fn acme() -> Two {
    let two = Two::new().await;
    two.run(&["tenant", "create", "acme", "--isolation", "shared"]).await.ok();
    two.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
    two
}

#[tokio::test]
async fn a_trail_is_sealed_verified_and_moves_with_its_seals() {
    let two = acme().await;
    let anchor = two.home.path("checkpoints");
    let anchor = ["--anchor", anchor.to_str().unwrap()];
    let early = two.run(&["audit", "verify", "acme"]).await;
    assert!(early.sentence().contains("seal first"), "{early:?}");
    for event in 1..=3 {
        two.superuser(&format!(
            "insert into shared.audit_events (tenant_id, id, actor_type, actor_id, action)
             select id, '01970000-0000-7000-8000-{event:012}', 'user', 'ada', 'project.renamed' from platform.tenants"
        ))
        .await;
    }

    let sealed = two.run(&[&["audit", "seal", "acme"], &anchor[..]].concat()).await.ok();
    assert!(sealed.out.contains("checkpoint 1 of "), "{sealed:?}");
    let key = sealed.out.lines().find_map(|line| line.strip_prefix("public key: ")).unwrap();
    assert_eq!(fs::read_to_string(two.home.path("checkpoints")).unwrap().lines().count(), 1);
    two.run(&[&["audit", "verify", "acme"], &anchor[..]].concat()).await.ok();
    let proof = two.run(&["audit", "prove", "acme", "01970000-0000-7000-8000-000000000002"]).await.ok();
    let proof: Value = serde_json::from_str(&proof.out).unwrap();
    assert_eq!(proof["format"], "formwork.audit.inclusion.v1");
    two.run(&["audit", "prove", "acme", "--from", "1", "--to", "1"]).await.ok();

    two.run(&["tenant", "move", "acme", "--to", "database:eu-west:shared"]).await.ok();
    two.run(&["tenant", "move", "acme", "--finish", "--grace", "0"]).await.ok();
    let again = two.run(&[&["audit", "seal", "acme"], &anchor[..]].concat()).await.ok();
    assert!(!again.out.contains(" 3 events sealed"), "sealed once: {again:?}");
    let verified = two.run(&["audit", "verify", "acme", "--trust", key, "--json"]).await.ok();
    let verified: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!((&verified["unsealed"], &verified["findings"]), (&0.into(), &Value::Array(Vec::new())));
    two.run(&["doctor"]).await.ok();
}

#[tokio::test]
async fn what_was_tampered_with_is_named_and_fails_the_command() {
    let two = acme().await;
    two.superuser(
        "insert into shared.audit_events (tenant_id, id, actor_type, actor_id, action)
         select id, '01970000-0000-7000-8000-000000000001', 'user', 'ada', 'project.renamed' from platform.tenants",
    )
    .await;
    two.run(&["audit", "seal", "acme"]).await.ok();
    two.superuser(
        "alter table shared.audit_events disable trigger append_only;
         update shared.audit_events set actor_id = 'eve' where id = '01970000-0000-7000-8000-000000000001';
         alter table shared.audit_events enable always trigger append_only",
    )
    .await;

    let verified = two.run(&["audit", "verify", "acme"]).await;

    let named = "event 01970000-0000-7000-8000-000000000001 (leaf ";
    assert!(verified.out.contains(named) && verified.out.contains("is not as it was sealed"), "{verified:?}");
    assert_eq!(verified.sentence(), "the trail of `acme` is not as it was sealed");
    let foreign = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let verified = two.run(&["audit", "verify", "acme", "--trust", foreign]).await;
    assert!(verified.out.contains("which is not trusted"), "{verified:?}");
    let unknown = two.run(&["audit", "verify", "nobody"]).await;
    assert_eq!(unknown.sentence(), "there is no tenant `nobody`");
}
