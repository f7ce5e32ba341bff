//! What a newcomer does wrong: one sentence that says what to do, and nothing half done.

use std::{net::TcpListener, path::Path};

use formwork_tenancy::{Isolation, local_postgres::LocalRole, testing::cluster};
use sqlx::Executor;

use super::cli::{Done, Home, Named, Running};

const HEADER: &str = "OBJECTID,FILENO,ADDRESS,INDATE,ISSUEDATE,CONSTRUCTVALUE,FOLDERSTATUSDESC,WORKDESC\n";
const ROW: &str = "1,24-1,1 Abbey Crt.,2024/10/03 00:00:00+00,,5,Issued,New\n";

/// The sentence, with what it names of this machine left out.
#[track_caller]
fn check(home: &Home, done: &Done, expected: &str) {
    let folder = home.path("x").display().to_string();
    let said = done.sentence().replace(folder.strip_suffix('x').unwrap(), "~/");
    assert_eq!(said, expected);
    assert!(done.out.is_empty(), "{done:?}");
}

fn is_untouched(home: &Home) {
    assert!(!home.state().exists(), "the state folder was made");
}

#[test]
fn a_port_that_is_taken() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port().to_string();
    let expected = |option| {
        format!("port {port} is taken: stop what listens there, or choose another one with {option}")
    };
    check(&home, &home.run(&["demo", "--port", &port]), &expected("--port"));
    check(&home, &home.run(&["serve", "--listen", &address.to_string()]), &expected("--listen"));
    is_untouched(&home);
}

#[test]
fn postgres_is_missing() {
    let home = Home::new();
    let empty = home.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let mut demo = home.formwork(&["demo", "--port", "0"]);
    let done = Done::of(demo.env("PG_BIN_DIR", &empty).env("PATH", &empty));
    check(
        &home,
        &done,
        "no Postgres of version 15 or newer was found (`~/empty`: holds no `initdb` and `postgres`): run \
         `script/bootstrap`, or set PG_BIN_DIR to the folder of its `initdb` and `postgres`",
    );
    is_untouched(&home);
}

#[test]
fn words_that_are_no_command() {
    let home = Home::new();
    for arguments in [
        &["demmo"][..],
        &["demo", "--port", "99999"],
        &["import", "permits", "x.csv"],
        &["tenant", "create", "acme", "--currency", "dollars"],
        &["tenant", "create", "acme", "--isolation", "none"],
        &["tenant", "add-member", "acme", "anna"],
        &[],
    ] {
        let done = home.run(arguments);
        assert_eq!((done.code, done.out.as_str()), (Some(2), ""), "{arguments:?}: {done:?}");
        assert!(done.err.contains("--help") || done.err.contains("Usage"), "{done:?}");
    }
    is_untouched(&home);
}

#[test]
fn no_database_is_named() {
    let home = Home::new();
    check(
        &home,
        &home.run(&["serve", "--listen", "127.0.0.1:0"]),
        "`DATABASE_URL` is not set: set it to the Postgres URL of the login `formwork_app`, or try `formwork demo`, \
         which brings its own database",
    );
    let file = home.write("permits.csv", HEADER);
    let nothing = "there is no database yet: start `formwork demo`, which makes one, or set `DATABASE_URL`";
    check(&home, &home.run(&["import", "permits", file.to_str().unwrap(), "--tenant", "acme"]), nothing);
    check(&home, &home.run(&["tenant", "create", "acme"]), nothing);
    let mut demo = home.formwork(&["demo", "--port", "0"]);
    check(
        &home,
        &Done::of(demo.env("DATABASE_URL", "postgres://formwork_app@localhost/formwork")),
        "`DATABASE_OWNER_URL` is not set: set it to the Postgres URL of the login `formwork_owner`",
    );
    is_untouched(&home);
}

#[test]
fn a_database_that_cannot_be_reached() {
    let home = Home::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let serve = |url: &str| {
        let mut serve = home.formwork(&["serve", "--listen", "127.0.0.1:0"]);
        Done::of(serve.env("DATABASE_URL", url))
    };
    let no_url = "`DATABASE_URL` is no Postgres URL, such as \
                  `postgres://formwork_app:PASSWORD@localhost:5432/formwork`";
    for wrong in ["localhost", "mysql://formwork_app@localhost/formwork", "postgres://:x:y", "postgres"] {
        check(&home, &serve(wrong), no_url);
    }
    let nobody = serve(&format!("postgres://formwork_app:secret@{free}/formwork"));
    let expected = |why: &str| {
        format!(
            "database `formwork` at `{free}` cannot be reached: start Postgres there, or correct `DATABASE_URL` ({why})"
        )
    };
    check(&home, &nobody, &expected("the connection to Postgres failed: Connection refused (os error 111)"));
    let expected = expected("it gave no connection in time");
    let mut migrate = home.formwork(&["migrate"]);
    let nobody = Done::of(migrate.env("DATABASE_OWNER_URL", format!("postgres://o:secret@{free}/formwork")));
    check(&home, &nobody, &expected.replace("DATABASE_URL", "DATABASE_OWNER_URL"));
    is_untouched(&home);
}

#[tokio::test]
async fn a_database_that_is_not_ours_yet() {
    let (home, cluster) = (Home::new(), cluster().await);
    cluster.create_database("not_ours_yet", None).await.unwrap();
    let run = |arguments: &[&str], app: &str| {
        let mut command = home.formwork(arguments);
        command.env("DATABASE_URL", app);
        command.env("DATABASE_OWNER_URL", cluster.url_of(LocalRole::Owner, "not_ours_yet"));
        Done::of(&mut command)
    };
    let folder = cluster.connect_options(LocalRole::App, "x").get_socket().unwrap().display().to_string();
    let url = cluster.url_of(LocalRole::App, "not_ours_yet");
    let empty = format!("database `not_ours_yet` at `{folder}` is empty: run `formwork migrate` first");
    check(&home, &run(&["serve", "--listen", "127.0.0.1:0"], &url), &empty);
    let file = home.write("permits.csv", HEADER);
    let import = ["import", "permits", file.to_str().unwrap(), "--tenant", "acme"];
    check(&home, &run(&import, &url), &empty);
    check(
        &home,
        &run(&["tenant", "create", "acme"], &url),
        "Postgres says `relation \"platform.database_regions\" does not exist`; run `formwork migrate`, which brings the \
         database up to date",
    );
    let elsewhere = cluster.url_of(LocalRole::App, "nowhere");
    check(
        &home,
        &run(&["serve", "--listen", "127.0.0.1:0"], &elsewhere),
        &format!(
            "database `nowhere` at `{folder}` refuses the login of `DATABASE_URL`: correct the variable (Postgres says \
             `database \"nowhere\" does not exist`)"
        ),
    );
    let mut migrate = home.formwork(&["migrate"]);
    check(
        &home,
        &Done::of(migrate.env("DATABASE_OWNER_URL", &url)),
        "Postgres says `permission denied for database not_ours_yet`; name the login that owns the database in \
         `DATABASE_OWNER_URL`",
    );
    is_untouched(&home);
    run(&["migrate"], &url).ok();
    run(&["tenant", "create", "acme"], &url).ok();
    check(&home, &run(&["tenant", "create", "acme"], &url), "`acme` is taken: choose another name");
    let slug = "`A_b` is no slug: use 1 to 63 lower-case letters, digits and inner hyphens";
    check(&home, &run(&["tenant", "create", "A_b"], &url), slug);
}

/// A tenant `acme` that nothing may be written to.
async fn tenant() -> Named {
    let named = Named::new().await;
    named.tenant("acme", Isolation::Shared);
    named
}

#[track_caller]
fn import(named: &Named, file: &Path, more: &[&str]) -> Done {
    let mut arguments = vec!["import", "permits", file.to_str().unwrap(), "--tenant", "acme"];
    arguments.extend(more);
    named.run(&arguments)
}

/// Nothing was stored, and no report left.
async fn nothing_came_in(named: &Named) {
    let stored = named.stored("acme").await;
    assert_eq!((stored.projects, stored.tuples, stored.imported), (0, 0, 0));
    let files = std::fs::read_dir(named.home.path("")).unwrap().flatten();
    let reports = files.filter(|file| file.file_name().to_string_lossy().ends_with(".report.csv"));
    assert_eq!(reports.count(), 0);
}

#[tokio::test]
async fn files_that_are_no_permits() {
    let named = tenant().await;
    let home = &named.home;
    std::fs::create_dir(home.path("folder")).unwrap();
    for (name, content, expected) in [
        ("missing.csv", None, "`~/missing.csv` does not exist: check the path"),
        ("folder", None, "`~/folder` is a directory: name a CSV file in it"),
        ("empty.csv", Some(&b""[..]), "`~/empty.csv` is empty: give a CSV file with a header and rows"),
        ("a.png", Some(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "`~/a.png` is a picture: give a CSV file"),
        (
            "a.xlsx",
            Some(b"PK\x03\x04\x14\0\x06\0"),
            "`~/a.xlsx` is a ZIP archive or an Excel workbook: save the sheet as CSV",
        ),
        (
            "header.csv",
            Some(HEADER.as_bytes()),
            "`~/header.csv` has a header and no rows: export it again with its rows",
        ),
        (
            "tabs.csv",
            Some(b"OBJECTID\tFILENO\n1\t2\n"),
            "`~/tabs.csv` separates its cells with `\\t`: set `delimiter` in a --mapping file",
        ),
        (
            "quote.csv",
            Some(b"OBJECTID,FILENO,ADDRESS,INDATE,ISSUEDATE,CONSTRUCTVALUE,FOLDERSTATUSDESC,WORKDESC\n\"1,2\n3,4\n"),
            "`~/quote.csv` opens a quote on line 2 that is never closed: close it",
        ),
    ] {
        let path = home.path(name);
        if let Some(content) = content {
            home.write(name, content);
        }
        check(home, &import(&named, &path, &[]), expected);
    }
    let other = home.write("other.csv", "Permit,Where\nP-1,1 Main St\n");
    let said = import(&named, &other, &[]);
    let said = said.sentence();
    assert!(said.contains("other.csv` fits no built-in mapping"), "{said}");
    assert!(said.contains("give one with --mapping"), "{said}");
    nothing_came_in(&named).await;
    // What is no file of ours is not replaced.
    let file = home.write("permits.csv", format!("{HEADER}{ROW}"));
    let precious = home.write("precious.csv", "mine\n");
    check(
        home,
        &import(&named, &file, &["--report", precious.to_str().unwrap()]),
        "report `~/precious.csv` would replace a file that is no import report: name another file with --report",
    );
    nothing_came_in(&named).await;
}

const MAPPING: &str = r#"name = "mine"
key = ["Permit"]
currency = "USD"
date_formats = ["%m/%d/%Y"]
unknown_status = "completed"
[columns]
number = "Permit"
address = "Where"
"#;

#[tokio::test]
async fn mappings_that_do_not_fit() {
    let named = tenant().await;
    let home = &named.home;
    let file = home.write("permits.csv", "Permit,Where\nP-1,1 Main St\n");
    let mapping = home.path("mine.toml");
    let run = |text: &str| {
        home.write("mine.toml", text);
        import(&named, &file, &["--mapping", mapping.to_str().unwrap()])
    };
    let missing = import(&named, &file, &["--mapping", home.path("none.toml").to_str().unwrap()]);
    let said = missing.sentence().to_owned();
    assert!(said.contains("none.toml`: cannot be read: give --mapping the path of a TOML file"), "{said}");
    let unknown = run(&MAPPING.replace("currency", "curency"));
    let said = unknown.sentence();
    assert!(
        said.contains("mine.toml` line 3 column 1: unknown field `curency`, expected one of `name`, "),
        "{said}"
    );
    check(
        home,
        &run(&MAPPING.replace("\"Where\"", "\"Place\"")),
        "`~/permits.csv` lacks the column `Place`, which the mapping `mine` needs: correct the mapping or give \
         another with --mapping; the file's columns are `Permit`, `Where`",
    );
    check(
        home,
        &run(&MAPPING.replace("\"Where\"", "\"where\"")),
        "`~/permits.csv` lacks the column `where` (is it `Where`?), which the mapping `mine` needs: correct the \
         mapping or give another with --mapping; the file's columns are `Permit`, `Where`",
    );
    nothing_came_in(&named).await;
    run(MAPPING).ok();
}

#[tokio::test]
async fn tenants_and_people_that_are_not_there() {
    let named = tenant().await;
    let home = &named.home;
    let file = home.write("permits.csv", format!("{HEADER}{ROW}"));
    check(
        home,
        &named.run(&["import", "permits", file.to_str().unwrap(), "--tenant", "acne"]),
        "there is no tenant `acne`: make it with `formwork tenant create acne`",
    );
    check(
        home,
        &import(&named, &file, &["--as", "nobody@acme.example"]),
        "`nobody@acme.example` is no member of tenant `acme`: name another one with --as",
    );
    check(
        home,
        &import(&named, &file, &["--as", "member@acme.example"]),
        "`member@acme.example` may not make projects in tenant `acme`: name an owner, admin or manager of it with \
         --as",
    );
    named.run(&["tenant", "create", "empty"]).ok();
    check(
        home,
        &named.run(&["import", "permits", file.to_str().unwrap(), "--tenant", "empty"]),
        "tenant `empty` has no owner: name who acts with --as EMAIL",
    );
    let mut superuser = named.superuser().await;
    superuser.execute("update platform.tenants set status = 'suspended' where slug = 'acme'").await.unwrap();
    check(
        home,
        &import(&named, &file, &[]),
        "tenant `acme` is suspended and takes no data: have it made active first",
    );
    nothing_came_in(&named).await;
}

/// A state folder that nobody can make is told with the folder's name.
#[test]
fn a_state_folder_that_cannot_be_made() {
    let home = Home::new();
    home.write("state", "a file");
    let demo = home.run(&["demo", "--port", "0"]);
    let said = demo.sentence();
    assert!(said.starts_with("cannot create `"), "{said}");
    assert!(said.ends_with("; repair that, or name another folder with --state-dir"), "{said}");
}

/// Two that are served from one folder: the second one uses the first one's database.
#[test]
fn a_second_demo_beside_the_first() {
    let home = Home::new();
    let mut first = Running::start(&home, &["demo", "--port", "0"]);
    first.until("Ctrl-C");
    let mut second = Running::start(&home, &["demo", "--port", "0"]);
    second.until("Ctrl-C");
    for demo in [&mut first, &mut second] {
        demo.signal("INT");
        demo.end().ok();
    }
    assert!(!home.has_postgres());
}

/// What is not done is said: nobody believes in a password or a role that was not set.
#[tokio::test]
async fn a_member_that_is_known_keeps_role_and_password() {
    let named = Named::new().await;
    named.tenant("acme", Isolation::Shared);
    named.tenant("bolt", Isolation::Schema);
    let add = |tenant, role| {
        let words = ["tenant", "add-member", tenant, "ada@x.example", "--role", role, "--password-stdin"];
        let mut command = named.formwork(&words);
        command.stdin(std::fs::File::open(named.home.write("password", "long enough\n")).unwrap());
        Done::of(&mut command).ok().out
    };
    assert!(add("acme", "member").starts_with("`ada@x.example` is a member of `acme`: "));
    let again = "`ada@x.example` is a member of `acme` already: role and password stay as they are\n";
    assert_eq!(add("acme", "owner"), again);
    assert!(add("bolt", "owner").ends_with("and keep the password that they have\n"));
}
