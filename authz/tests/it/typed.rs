//! Objects and permissions that the compiler knows mean what their names mean.

use formwork_authz::{
    Authz, Budget, CheckError, Context, Decision, Graph, Object, RequireError, Schema, Subject, rel,
};
use formwork_migrations::{AUTHZ, TENANCY};
use formwork_tenancy::testing::TestDatabase;
use formwork_tenancy::{Actor, Isolation, Session};

mod access {
    formwork_authz::schema!(file = "tests/typed/root.zed");
}

mod timed {
    formwork_authz::schema!(
        "definition user {}
         caveat by_day(hour int) { hour < 18 }
         definition note { relation reader: user | user with by_day }"
    );
}

type Names = &'static [(&'static str, &'static [&'static str])];

/// Every language's odd corners, read by the macro.
macro_rules! corpus {
    ($($name:ident = $file:literal,)*) => {
        $(mod $name {
            formwork_authz::schema!(file = $file);
        })*

        fn corpus() -> Vec<(&'static str, Schema, Names)> {
            vec![$(($file, $name::schema().unwrap(), $name::NAMES),)*]
        }
    };
}

corpus! {
    root = "tests/typed/root.zed",
    all_types = "tests/corpus/all_types.zed",
    comments = "tests/corpus/comments_in_conditions.zed",
    conditional = "tests/corpus/conditional_permissions.zed",
    deprecated = "tests/corpus/deprecated.zed",
    layout = "tests/corpus/layout.zed",
    multiline = "tests/corpus/multiline.zed",
    namespaced = "tests/corpus/namespaced.zed",
    organisation = "tests/corpus/organisation.zed",
    partials = "tests/corpus/partials.zed",
    documents = "tests/corpus/documents.fga",
    second = "tests/corpus/second.fga",
}

#[test]
fn the_macro_reads_the_names_that_the_compiler_of_schemas_reads() {
    for (file, schema, names) in corpus() {
        let mut types: Vec<&str> = schema.object_types().collect();
        let mut read: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
        types.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, types, "{file}");
        for (object_type, slots) in names {
            let mut asked: Vec<&str> = schema.relations(object_type).collect();
            asked.extend(schema.permissions(object_type));
            asked.sort_unstable();
            let mut slots = slots.to_vec();
            slots.sort_unstable();
            assert_eq!(slots, asked, "{file}, {object_type}");
        }
    }
}

/// What the macro takes for the forms of subjects is what the compiler of schemas takes for them.
#[test]
fn relationships_with_a_place_are_taken_and_stored() {
    let until: chrono::DateTime<chrono::Utc> = "2030-01-01T00:00:00Z".parse().unwrap();
    let (nobody, one) = (serde_json::Map::new(), 1);
    let organisation = [
        organisation::rel!("organization:1#member@team:{one}#member"),
        organisation::rel!("team:1#member@user:anna[expiration:{until}]"),
        organisation::rel!("project:1#observer@user:*"),
        organisation::rel!("project:1#observer@user:anna[from_office:{nobody}][expiration:{until}]"),
    ];
    let documents = [
        documents::rel!("document:1#editor@team:1#member[in_office]"),
        documents::rel!("folder:1#viewer@user:*"),
    ];
    let deprecated = [deprecated::rel!("document:1#viewer@person:1")];
    let partials = [partials::rel!("folder:1#viewer@user:*")];
    let imported = [access::rel!("document:1#viewer@team:1#member")];
    for (schema, facts) in [
        (organisation::schema(), &organisation[..]),
        (documents::schema(), &documents),
        (deprecated::schema(), &deprecated),
        (partials::schema(), &partials),
        (access::schema(), &imported),
    ] {
        let graph = Graph::load(schema.unwrap(), facts.to_vec());
        assert_eq!((graph.len(), graph.ignored()), (facts.len(), 0));
    }
    let permission = access::Document::CAN.view;
    assert_eq!(size_of_val(&permission), size_of::<&str>());
}

#[test]
fn a_graph_is_asked_by_types_and_by_names_alike() {
    use access::{Document, Folder, User};
    let facts = [rel!("document:7#folder@folder:1"), rel!("folder:1#viewer@user:anna")];
    let graph = Graph::load(access::schema().unwrap(), facts);
    let (anna, seven) = (User::new("anna"), Document::new(7));
    let asker = graph.for_subject(&anna).unwrap();
    assert_eq!(asker.check(Document::CAN.view, &seven).unwrap(), Decision::Allowed);
    assert_eq!(asker.check("view", &Object::new("document", 7)).unwrap(), Decision::Allowed);
    assert_eq!(asker.check(Document::CAN.viewer, &seven).unwrap(), Decision::Denied);
    assert_eq!(asker.check(Folder::CAN.r#type, &Folder::new(1)).unwrap(), Decision::Allowed);
    assert_eq!(asker.lookup_objects(Document::CAN.view).unwrap(), std::slice::from_ref(&seven));
    assert_eq!(asker.explain(Document::CAN.view, &seven).unwrap().relationships.len(), 2);
    let rows = vec![9, 7, 8, 7];
    assert_eq!(asker.filter(Document::CAN.view, rows, |&id| Document::new(id)).unwrap(), [7, 7]);
    assert_eq!(seven.to_string(), "document:7");
    assert_eq!(format!("{:?}", Document::CAN.view), "document#view");

    // Who is not stored is still the object that is asked about.
    let me = graph.for_subject(&Subject::userset("folder", "new", "viewer")).unwrap();
    assert_eq!(me.check(Folder::CAN.viewer, &Folder::new("new")).unwrap(), Decision::Allowed);
}

#[test]
fn a_permission_that_the_handle_does_not_have_is_an_error() {
    let other = Schema::parse("definition user {} definition document { relation viewer: user }").unwrap();
    let graph = Graph::load(other, []);
    let anna = graph.for_subject(&access::User::new("anna")).unwrap();
    let error = anna.check(access::Document::CAN.view, &access::Document::new(7)).unwrap_err();
    assert_eq!(error.to_string(), "`document` has no relation or permission `view`");
}

#[test]
fn nothing_is_left_out_of_a_page_because_nobody_knows() {
    use timed::{Note, User};
    let facts = ["note:1#reader@user:anna", "note:2#reader@user:anna[by_day]"];
    let graph = Graph::load(timed::schema().unwrap(), facts.map(|fact| fact.parse().unwrap()));
    let anna = graph.for_subject(&User::new("anna")).unwrap();
    let page = |asker: &formwork_authz::GraphAsker<'_>| {
        asker.filter(Note::CAN.reader, vec![1, 2, 3], |&id| Note::new(id))
    };
    let Err(CheckError::Undecided(undecided)) = page(&anna) else { panic!("decided") };
    assert_eq!((undecided.objects(), undecided.missing()), (1, &["hour".into()][..]));
    assert!(matches!(anna.lookup_objects(Note::CAN.reader), Err(CheckError::Undecided(_))));
    let noon = anna.with_context(Context::new().with("hour", 12));
    assert_eq!(page(&noon).unwrap(), [1, 2]);
    assert_eq!(noon.lookup_objects(Note::CAN.reader).unwrap().len(), 2);
}

#[tokio::test]
async fn a_subject_is_bound_once_for_a_request() {
    use access::{Document, User};
    let db = TestDatabase::new(&[TENANCY, AUTHZ]).await;
    let acme = db.tenant("acme", Isolation::Shared).await;
    let session = Session::new(&acme, Actor::user(uuid::Uuid::now_v7()));
    let in_memory = Authz::new(access::schema().unwrap());
    let through_sql = in_memory.with_budget(0, Budget::none());
    let mut tx = db.tenants().begin(&session).await.unwrap();
    let facts = [1, 3].map(|id| rel!("document:{id}#viewer@user:anna"));
    in_memory.touch_many(&mut tx, &facts).await.unwrap();
    for authz in [in_memory, through_sql] {
        let anna = authz.for_subject(&User::new("anna"));
        let [one, two] = [1, 2].map(Document::new);
        assert!(anna.check(&mut tx, Document::CAN.view, &one).await.unwrap().is_allowed());
        let grant = anna.require(&mut tx, Document::CAN.view, &one).await.unwrap();
        assert_eq!((grant.subject(), grant.object()), (anna.subject(), one.as_ref()));
        let denied = anna.require(&mut tx, Document::CAN.view, &two).await;
        assert!(matches!(denied, Err(RequireError::Denied(_))));
        let page = anna.filter(&mut tx, Document::CAN.view, vec![3, 2, 1], |&id| Document::new(id)).await;
        assert_eq!(page.unwrap(), [3, 1]);
        let seen = anna.lookup_objects(&mut tx, Document::CAN.view).await.unwrap();
        assert_eq!(seen, [1, 3].map(Document::new));
        assert!(anna.sql_filter(&mut tx, Document::CAN.view).await.unwrap().is_list());
    }
}
