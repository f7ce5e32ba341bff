//! `formwork import permits`, from the file to the tables: what is written, what is not, and who may.

use std::path::{Path, PathBuf};

use formwork_tenancy::Isolation;
use sqlx::{AssertSqlSafe, Executor};

use super::cli::{Caller, Done, Named, PASSWORD, Stored, home_of};

const MAPPING: &str = r#"
name = "springfield"
key = ["Permit"]
currency = "USD"
date_formats = ["%m/%d/%Y"]
[columns]
number = "Permit"
address = "Where"
issued_on = "Issued"
valuation = "Cost"
status = "State"
contractor = "Builder"
[status]
"Open" = "course_of_construction"
"Done" = "completed"
"#;

/// 8 rows: 3 permits, one of them twice with another content and one told twice, 3 refused.
const MESSY: &str = "\
Permit,Where,Issued,Cost,State,Builder
P-1,  1   Main St ,01/03/1984,\"$20,000.00\",open,Bob's
P-2,2 Main St,02/30/1984,5,Open,
P-3,3 Main St,,n/a,Done,\u{dc}nal
P-4,4 Main St,12/31/1984,,Done,\"Smith, \"\"Sons\"\"\"
P-1,1 Main St,01/03/1984,20000,open,Bob's
P-5,5 Main St,,1,Lost,
P-4,4 Main St,12/31/1984,7.5,Done,Smith
P-6,6 Main St,,,Done,
";

/// A tenant and the folder with the file for it.
struct Site {
    named: Named,
    slug: &'static str,
    mapping: PathBuf,
}

impl Site {
    async fn new(isolation: Isolation) -> Self {
        let named = Named::new().await;
        named.tenant("acme", isolation);
        let mapping = named.home.write("springfield.toml", MAPPING);
        Self { named, slug: "acme", mapping }
    }

    fn import(&self, file: &Path, more: &[&str]) -> Done {
        let (file, mapping) = (file.to_str().unwrap(), self.mapping.to_str().unwrap());
        let mut arguments = vec!["import", "permits", file, "--tenant", self.slug, "--mapping", mapping];
        arguments.extend(more);
        self.named.run(&arguments)
    }

    async fn stored(&self) -> Stored {
        self.named.stored(self.slug).await
    }

    async fn execute(&self, sql: &str) {
        let mut superuser = self.named.superuser().await;
        let home = home_of(&mut superuser, self.slug).await;
        superuser.execute(AssertSqlSafe(sql.replace("HOME", &home))).await.unwrap();
    }

    /// A project's name and version, by its number.
    async fn project(&self, number: &str) -> (String, i64) {
        let mut superuser = self.named.superuser().await;
        let home = home_of(&mut superuser, self.slug).await;
        let sql = format!("select name, version from {home}.projects where number = $1");
        sqlx::query_as(AssertSqlSafe(sql)).bind(number).fetch_one(&mut superuser).await.unwrap()
    }
}

/// The line of the summary that begins with this word has this number.
#[track_caller]
fn says(done: &Done, word: &str, number: u64) {
    let line = done.out.lines().find(|line| line.starts_with(word)).unwrap_or_else(|| panic!("{done:?}"));
    assert_eq!(line.split_whitespace().nth(1), Some(number.to_string().as_str()), "{}", done.out);
}

async fn a_messy_file_into(isolation: Isolation) {
    let site = Site::new(isolation).await;
    let file = site.named.home.write("permits.csv", MESSY);
    let before = site.stored().await;
    let done = site.import(&file, &[]).ok();
    for (word, number) in [("rows", 8), ("refused", 3), ("duplicate", 1), ("updated", 1), ("projects", 3)] {
        says(&done, word, number);
    }
    assert!(done.err.contains("acting as owner@acme.example"), "{done:?}");
    let report = std::fs::read_to_string(site.named.home.path("permits.csv.report.csv")).unwrap();
    let expected = [
        "line,column,value,reason,outcome",
        "3,Issued,02/30/1984,",
        "4,Cost,n/a,",
        "6,,P-1,says the same as line 2 in every mapped column,duplicate",
        "7,State,Lost,\"is not in the mapping's [status]: add it there, or set `unknown_status`\",refused",
        "8,,P-4,replaces line 5,updated",
    ];
    assert_eq!(report.lines().count(), expected.len(), "{report}");
    for (line, expected) in report.lines().zip(expected) {
        assert!(line.starts_with(expected), "{report}");
    }
    let first = site.stored().await;
    first.assert_whole();
    assert_eq!((first.projects, first.updated, first.imported), (3, 0, 1));
    assert_eq!(first.events, before.events + 4);
    assert_eq!(site.project("P-1").await, ("1 Main St".to_owned(), 1));

    let again = site.import(&file, &[]).ok();
    assert!(again.out.contains("nothing was written: every row is in tenant `acme` already"), "{again:?}");
    assert_eq!(site.stored().await, first);

    let changed = site.named.home.write("permits.csv", MESSY.replace("6 Main St", "60 Main St"));
    let done = site.import(&changed, &[]).ok();
    assert!(done.out.contains("1  changed") && done.out.contains("2  unchanged"), "{done:?}");
    let second = site.stored().await;
    let expected = Stored { updated: 1, imported: 2, events: first.events + 2, ..first };
    assert_eq!(second, expected);
    assert_eq!(site.project("P-6").await, ("60 Main St".to_owned(), 2));
    assert_eq!(site.project("P-1").await.1, 1);
}

#[tokio::test]
async fn a_messy_file_into_shared_tables() {
    a_messy_file_into(Isolation::Shared).await;
}

#[tokio::test]
async fn a_messy_file_into_a_schema() {
    a_messy_file_into(Isolation::Schema).await;
}

#[tokio::test]
async fn what_people_did_since_is_not_undone() {
    let site = Site::new(Isolation::Shared).await;
    let file = site.named.home.write("permits.csv", MESSY);
    site.import(&file, &[]).ok();
    let mut serve = site.named.start(&["serve", "--listen", "127.0.0.1:0"]);
    let owner = Caller::sign_in(&serve.address(), "acme", "owner@acme.example", PASSWORD).await;
    let projects = owner.projects().await;
    let path = |number: &str| {
        let project = projects.iter().find(|project| project["number"] == number).unwrap();
        format!("/api/v1/projects/{}", project["id"].as_str().unwrap())
    };
    let renamed = serde_json::json!({"name": "Renamed"});
    assert_eq!(owner.send("PATCH", &path("P-1"), Some(renamed)).await.0, 200);
    assert_eq!(owner.send("DELETE", &path("P-4"), None).await.0, 204);
    let before = site.stored().await;

    let again = site.import(&file, &[]).ok();
    assert!(again.out.contains("1  left alone: removed here"), "{again:?}");
    assert_eq!(site.stored().await, before);
    assert_eq!(site.project("P-1").await.0, "Renamed");

    let changed = site.named.home.write("permits.csv", MESSY.replace("7.5", "8.5"));
    let done = site.import(&changed, &[]).ok();
    assert!(done.out.contains("nothing was written"), "{done:?}");
    assert_eq!(site.stored().await, before);
    assert_eq!(owner.get(&path("P-4")).await.0, 404);
    assert_eq!(owner.projects().await.len(), 2);
}

#[tokio::test]
async fn a_running_service_sees_an_import_at_once() {
    let site = Site::new(Isolation::Schema).await;
    let mut serve = site.named.start(&["serve", "--listen", "127.0.0.1:0"]);
    let address = serve.address();
    let owner = Caller::sign_in(&address, "acme", "owner@acme.example", PASSWORD).await;
    let member = Caller::sign_in(&address, "acme", "member@acme.example", PASSWORD).await;
    assert!(owner.projects().await.is_empty());
    let file = site.named.home.write("permits.csv", MESSY);
    site.import(&file, &[]).ok();
    assert_eq!(owner.projects().await.len(), 3);
    assert!(member.projects().await.is_empty(), "nobody made them a member of one");
}

#[tokio::test]
async fn whoever_acts_needs_the_permission() {
    let site = Site::new(Isolation::Shared).await;
    site.named.member("acme", "max@acme.example", "manager");
    let file = site.named.home.write("permits.csv", MESSY);
    let before = site.stored().await;
    let refused = site.import(&file, &["--as", "member@acme.example"]);
    assert!(refused.sentence().contains("may not make projects"), "{refused:?}");
    assert!(!site.named.home.path("permits.csv.report.csv").exists());
    assert_eq!(site.stored().await, before);

    site.import(&file, &["--as", "Max@acme.example"]).ok();
    // The owner may change what a manager has made; another manager may not.
    site.named.member("acme", "eve@acme.example", "manager");
    let made = site.stored().await;
    assert_eq!(made.projects, 3);
    let changed = site.named.home.write("permits.csv", MESSY.replace("6 Main St", "60 Main St"));
    let refused = site.import(&changed, &["--as", "eve@acme.example"]);
    let sentence = refused.sentence();
    assert!(sentence.starts_with("line 9 changes project `"), "{sentence}");
    assert!(sentence.ends_with("name another one with --as; this run stored nothing"), "{sentence}");
    assert_eq!(site.stored().await, made);
    site.import(&changed, &[]).ok();
    assert_eq!(site.stored().await.updated, 1);
}

/// Rows of a file that any of the built-in mappings would take.
fn many(rows: usize) -> String {
    let mut text = MESSY.lines().next().unwrap().to_owned();
    for row in 0..rows {
        text.push_str(&format!("\nM-{row},{row} Main St,01/03/1984,{row}.50,Open,Bob's"));
    }
    text
}

#[tokio::test]
async fn two_imports_at_once_make_each_project_once() {
    let site = Site::new(Isolation::Schema).await;
    let file = site.named.home.write("permits.csv", many(3_500));
    let start = |report: &str| {
        let (file, mapping) = (file.to_str().unwrap(), site.mapping.to_str().unwrap());
        let report = site.named.home.path(report);
        let report = report.to_str().unwrap();
        site.named.start(&[
            "import",
            "permits",
            file,
            "--tenant",
            "acme",
            "--mapping",
            mapping,
            "--report",
            report,
        ])
    };
    let mut both = [start("one.csv"), start("two.csv")];
    for import in &mut both {
        import.end().ok();
    }
    let stored = site.stored().await;
    stored.assert_whole();
    assert_eq!((stored.projects, stored.updated), (3_500, 0));
    assert!((1..=2).contains(&stored.imported), "{stored:?}");
}

/// Whatever a file says, it is text.
#[tokio::test]
async fn names_of_tenants_and_projects_are_data() {
    let site = Site::new(Isolation::Shared).await;
    let text = MESSY.replace("6 Main St", "'); drop table projects; --").replace("P-6", "%s\\x|");
    let file = site.named.home.write("permits.csv", text);
    site.import(&file, &[]).ok();
    assert_eq!(site.project("%s\\x|").await.0, "'); drop table projects; --");
    site.execute("update HOME.projects set name = 'x' where number = 'P-1'").await;
    site.import(&file, &[]).ok();
    assert_eq!(site.project("P-1").await.0, "x", "what was stored by SQL stays as well");
}
