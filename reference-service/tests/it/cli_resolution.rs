//! `formwork tenant domain` and `formwork tenant api-key`.

use formwork_tenancy::Isolation;
use serde_json::Value;

use crate::cli::{Done, Named};

fn json(done: Done) -> Value {
    serde_json::from_str(&done.ok().out).unwrap()
}

#[tokio::test]
async fn a_domain_is_claimed_proven_listed_and_removed() {
    let named = Named::new().await;
    named.tenant("acme", Isolation::Shared);
    named.tenant("bolt", Isolation::Schema);
    let domain = |arguments: &[&str]| named.run(&[&["tenant", "domain"], arguments].concat());
    let added = domain(&["add", "acme", "Baustelle.Bücher.example"]).ok().out;
    assert!(
        added.contains("_formwork-challenge.baustelle.xn--bcher-kva.example TXT \"formwork-domain-"),
        "{added}"
    );
    let claim = json(domain(&["add", "acme", "baustelle.bücher.example", "--json"]));
    let (host, value) = (claim["host"].as_str().unwrap(), claim["record"]["value"].as_str().unwrap());
    assert!(added.contains(value), "the proof stays the same");
    let early = domain(&["verify", "acme", host, "--txt", "\"v=spf1 -all\""]);
    assert!(early.sentence().contains(value), "{early:?}");
    let stranger = domain(&["verify", "bolt", host, "--txt", value]);
    assert!(stranger.sentence().contains("has not claimed"), "{stranger:?}");
    let proven = domain(&["verify", "acme", host, "--txt", &format!("\"v=spf1 -all\"\n\"{value}\"\n")]).ok();
    assert_eq!(proven.out, format!("`{host}` is proven: requests to it are `acme`'s\n"));
    let table = domain(&["list", "acme"]).ok().out;
    assert!(table.starts_with("DOMAIN") && table.contains(host) && !table.contains("  no  "), "{table}");
    assert!(json(domain(&["list", "acme", "--json"]))[0]["verified_at"].is_string());

    let taken = json(domain(&["add", "bolt", host, "--json"]));
    let late = domain(&["verify", "bolt", host, "--txt", taken["record"]["value"].as_str().unwrap()]);
    assert!(late.sentence().contains("is another tenant's"), "{late:?}");
    let ours = domain(&["add", "acme", "bolt.example.org", "--base-domain", "example.org"]);
    assert!(ours.sentence().contains("is the platform's own domain or below it"), "{ours:?}");
    let address = domain(&["add", "acme", "https://acme.example"]);
    assert_eq!(
        address.sentence(),
        "`https://acme.example` is no domain (write it without a port or a scheme)"
    );
    domain(&["remove", "acme", host]).ok();
    let again = domain(&["remove", "acme", host]);
    assert!(again.sentence().contains("`acme` has not claimed"), "{again:?}");
    assert_eq!(json(domain(&["list", "acme", "--json"])), serde_json::json!([]));
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let named = Named::new().await;
    named.tenant("acme", Isolation::Shared);
    named.tenant("bolt", Isolation::Shared);
    let api_key = |arguments: &[&str]| named.run(&[&["tenant", "api-key"], arguments].concat());
    let shown = api_key(&["create", "acme", "nightly export"]).ok().out;
    let text = shown.lines().next().unwrap();
    assert!(text.starts_with("fwk_") && text.len() == 81, "{shown}");
    let second = json(api_key(&["create", "acme", "import", "--expires-in", "30", "--json"]));
    assert!(second["key"].as_str().unwrap().starts_with("fwk_") && second["expires_at"].is_string());

    let listed = api_key(&["list", "acme"]).ok().out;
    assert!(listed.contains("nightly export") && listed.contains(&text[..17]), "{listed}");
    assert!(listed.contains(&text[77..]) && !listed.contains(&text[17..77]), "{listed}");
    let keys = json(api_key(&["list", "acme", "--json"]));
    assert_eq!(keys.as_array().unwrap().len(), 2);
    assert!(keys[0].get("key").is_none());
    let id = second["id"].as_str().unwrap();
    let strange = api_key(&["revoke", "bolt", id]);
    assert!(strange.sentence().contains("`bolt` has no key"), "{strange:?}");
    api_key(&["revoke", "acme", id]).ok();
    assert_eq!(api_key(&["revoke", "acme", id]).code, Some(1));
    assert!(json(api_key(&["list", "acme", "--json"]))[1]["revoked_at"].is_string());
    let nameless = api_key(&["create", "acme", " "]);
    assert!(nameless.sentence().contains("it needs a name"), "{nameless:?}");
    assert_eq!(api_key(&["create", "acme", "x", "--expires-in", "0"]).code, Some(2));
}

#[tokio::test]
async fn a_reserved_name_is_given_to_no_tenant() {
    let named = Named::new().await;
    for (slug, name) in [("admin", "admin"), ("www", "www"), ("adm1n", "admin")] {
        let refused = named.run(&["tenant", "create", slug]);
        let sentence = format!("`{slug}` reads as `{name}`, which is reserved: choose another name");
        assert_eq!(refused.sentence(), sentence);
    }
    named.run(&["tenant", "create", "acme"]).ok();
}
