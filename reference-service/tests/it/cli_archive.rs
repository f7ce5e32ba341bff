//! `formwork tenant export`, `import` and `verify-export`, from one installation into another.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use serde_json::Value;

use crate::{
    cli::{Done, Home},
    cli_move::Two,
};

async fn acme() -> Two {
    let two = Two::new().await;
    two.run(&["tenant", "create", "acme", "--isolation", "shared"]).await.ok();
    two.run(&["tenant", "add-member", "acme", "ada@acme.example", "--role", "owner"]).await.ok();
    two
}

#[tokio::test]
async fn a_tenant_is_exported_verified_and_restored_elsewhere() {
    let (here, there) = (acme().await, Two::new().await);
    let file = here.home.path("acme.export");
    let path = file.to_str().unwrap();

    let exported = here.run(&["tenant", "export", "acme", "--output", path, "--json"]).await.ok();

    let exported: Value = serde_json::from_str(&exported.out).unwrap();
    assert_eq!(exported["tenant"], "acme");
    let members = exported["sections"].as_array().unwrap().iter().find(|s| s["section"] == "members");
    assert_eq!(members.unwrap()["rows"], 1);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let twice = here.run(&["tenant", "export", "acme", "--output", path]).await;
    assert!(twice.code == Some(1) && twice.err.contains("is there already"), "{twice:?}");

    // No database is named, and none is needed.
    let verified = Home::new().run(&["tenant", "verify-export", path]).ok();
    assert!(verified.out.contains("the export of `acme` is whole"), "{verified:?}");
    assert!(verified.out.contains(exported["sha256"].as_str().unwrap()), "{verified:?}");

    let place = ["--isolation", "database", "--database", "eu-west", "--json"];
    let restored = there.run(&[&["tenant", "import", path], &place[..]].concat()).await.ok();
    let restored: Value = serde_json::from_str(&restored.out).unwrap();
    assert_eq!((&restored["outcome"], &restored["place"]), (&"imported".into(), &"database:eu-west".into()));
    assert_eq!((&restored["sections"], &restored["epoch"]), (&exported["sections"], &2.into()));
    there.run(&["doctor"]).await.ok();

    // Out through a pipe, and in again as a copy.
    let piped = here.home.path("piped");
    let mut command = there.command(&["tenant", "export", "acme", "--output", "-"]).await;
    let status = command.stdout(File::create(&piped).unwrap()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success());
    let mut command = there.command(&["tenant", "import", "-", "--copy", "--slug", "twin"]).await;
    let copied = Done::of(command.args(["--isolation", "shared"]).stdin(File::open(&piped).unwrap())).ok();
    assert!(copied.out.contains("`twin` is imported into shared"), "{copied:?}");
    assert_eq!(there.members("main").await, 1);
}

#[tokio::test]
async fn what_cannot_be_imported_is_said_in_a_sentence() {
    let here = acme().await;
    let file = here.home.path("acme.export");
    let path = file.to_str().unwrap();
    here.run(&["tenant", "export", "acme", "--output", path]).await.ok();
    let there = here.run(&["tenant", "import", path]).await;
    assert!(there.code == Some(1) && there.err.contains("is active here: delete it first"), "{there:?}");

    let whole = fs::read(&file).unwrap();
    let cut = here.home.write("cut", &whole[..whole.len() - 10]);
    let cut = cut.to_str().unwrap();
    for arguments in
        [vec!["tenant", "verify-export", cut], vec!["tenant", "import", cut, "--slug", "b", "--copy"]]
    {
        let refused = here.run(&arguments).await;
        assert!(
            refused.code == Some(1) && refused.err.contains("is cut off in the last line"),
            "{refused:?}"
        );
    }
    let other = here.home.write("other", "something else\n");
    let refused = here.run(&["tenant", "verify-export", other.to_str().unwrap()]).await;
    assert!(refused.err.contains("this is no export of a tenant"), "{refused:?}");
    let unknown = here.run(&["tenant", "export", "nobody", "--output", "-"]).await;
    assert!(unknown.code == Some(1) && unknown.err.contains("there is no tenant `nobody`"), "{unknown:?}");
    let nothing = here.run(&["tenant", "import", "--abort", "acme"]).await;
    assert!(nothing.code == Some(1) && nothing.err.contains("no import that was cut off"), "{nothing:?}");
    let nowhere = here.run(&["tenant", "import", path, "--isolation", "database:us"]).await;
    assert!(nowhere.err.contains("`us` is not known here"), "{nowhere:?}");
    assert!(!here.home.path("nobody.export").exists());
}
