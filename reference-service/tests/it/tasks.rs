//! `/api/v1/task-boards` and `/api/v1/tasks`.

use std::collections::BTreeSet;

use formwork_service::modules::members::Role;
use formwork_tenancy::Isolation;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kit::{Ask, Member, Service, Site, uuid};

async fn site() -> (Site, Member) {
    let site = Service::start().await.tenant("a", Isolation::Schema).await;
    let ada = site.member("ada", Role::Owner).await;
    (site, ada)
}

/// A column and its tasks `A`, `B`, `C`, ... in this order.
async fn column_of(ada: &Member, count: usize) -> (Uuid, Uuid, Vec<Uuid>) {
    let (board, columns) = ada.board(None).await;
    let mut tasks = Vec::new();
    for name in ('A'..).take(count) {
        tasks.push(ada.task(&name.to_string(), board, columns[0]).await);
    }
    (board, columns[0], tasks)
}

async fn shift(actor: &Member, task: Uuid, place: Value) -> crate::kit::Answer {
    actor.patch(format!("/api/v1/tasks/{task}/move"), place).await
}

/// The titles of a column, in its order, by every way in which they are listed.
async fn order(actor: &Member, board: Uuid, column: Uuid) -> String {
    let titles = |rows: &[Value]| rows.iter().map(|task| task["title"].as_str().unwrap()).collect::<String>();
    let listed = actor.walk(&format!("/api/v1/tasks?board_id={board}&column_id={column}&limit=2")).await;
    let kanban =
        actor.get(format!("/api/v1/tasks?board_id={board}&view=kanban&limit=200")).await.is(200).json();
    let columns = kanban["columns"].as_array().unwrap();
    let found = columns.iter().find(|found| uuid(&found["id"]) == column).unwrap();
    assert_eq!(titles(&listed), titles(found["tasks"].as_array().unwrap()), "list and kanban agree");
    assert_eq!(found["task_count"], listed.len());
    // From the text: a reader of JSON may be one bit off.
    let text = actor.get(format!("/api/v1/tasks?board_id={board}&column_id={column}&limit=200")).await.body;
    let positions = text.split("\"position\":").skip(1).map(|rest| rest.split(',').next().unwrap());
    let positions: Vec<f64> = positions.map(|number| number.parse().unwrap()).collect();
    assert_eq!(positions.len(), listed.len());
    assert!(positions.is_sorted_by(|a, b| a < b), "no two tasks share a place: {positions:?}");
    titles(&listed)
}

#[tokio::test]
async fn a_board_comes_with_columns() {
    let (_, ada) = site().await;
    let board = ada.post("/api/v1/task-boards", json!({"name": "Board"})).await.is(201).json();
    let columns = |board: &Value| -> Vec<(Value, Value)> {
        let columns = board["columns"].as_array().unwrap().iter();
        columns.map(|column| (column["name"].clone(), column["status"].clone())).collect()
    };
    let expected = [("To do", "todo"), ("In progress", "in_progress"), ("Done", "done")];
    assert_eq!(columns(&board), expected.map(|(name, status)| (json!(name), json!(status))));
    assert_eq!(
        ada.get(format!("/api/v1/task-boards/{}", board["id"].as_str().unwrap())).await.is(200).json(),
        board
    );
    let own = json!({"name": "Own", "columns": [{"name": "One", "wip_limit": 3}, {"name": "Two", "status": "blocked"}]});
    let board = ada.post("/api/v1/task-boards", own).await.is(201).json();
    assert_eq!(columns(&board), [(json!("One"), json!(null)), (json!("Two"), json!("blocked"))]);
    assert_eq!(board["columns"][0]["wip_limit"], 3);
}

#[tokio::test]
async fn a_column_is_added_at_the_end() {
    let (_, ada) = site().await;
    let (board, _) = ada.board(None).await;
    let path = format!("/api/v1/task-boards/{board}/columns");
    let add = |name: &'static str| ada.post(&path, json!({"name": name, "status": "done"}));
    let (one, two) = tokio::join!(add("Four"), add("Five"));
    let added = BTreeSet::from([one.is(201).id(), two.is(201).id()]);
    let shown = ada.get(format!("/api/v1/task-boards/{board}")).await.json();
    let columns = shown["columns"].as_array().unwrap();
    assert_eq!(columns.iter().skip(3).map(|column| uuid(&column["id"])).collect::<BTreeSet<_>>(), added);
    let positions: Vec<f64> = columns.iter().map(|column| column["position"].as_f64().unwrap()).collect();
    assert!(positions.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn a_board_has_a_bounded_number_of_columns() {
    let (_, ada) = site().await;
    let columns = |count: usize| json!({"name": "Wide", "columns": vec![json!({"name": "C"}); count]});
    ada.post("/api/v1/task-boards", columns(51)).await.refuses("/columns");
    let full = ada.post("/api/v1/task-boards", columns(50)).await.is(201).id();
    let more = ada.post(format!("/api/v1/task-boards/{full}/columns"), json!({"name": "C"})).await;
    more.problem(409, "too-many-columns");
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let (_, elsewhere) = ada.board(None).await;
    for (field, value) in [
        ("title", json!("")),
        ("title", json!("a\u{0}b")),
        ("priority", json!("urgent")),
        ("status", json!(3)),
        ("due_date", json!("-9999-01-01")),
        ("assignee_id", json!(Uuid::now_v7())),
        ("metadata", json!([])),
        ("column_id", json!(elsewhere[0])),
        ("parent_id", json!(Uuid::now_v7())),
        ("position", json!(1)),
    ] {
        let mut body = json!({"title": "T", "board_id": board, "column_id": columns[0]});
        body[field] = value;
        ada.post("/api/v1/tasks", body).await.refuses(&format!("/{field}"));
    }
    let deep = json!({"title": "T", "metadata": {"a": [{"b/c": "x\u{0}"}]}});
    ada.post("/api/v1/tasks", deep).await.refuses("/metadata/a/0/b~1c");
    let harmless = json!({"title": "T", "metadata": {"a": r"\u0000"}});
    let made = ada.post("/api/v1/tasks", harmless.clone()).await.is(201).json();
    assert_eq!(made["metadata"], harmless["metadata"], "a backslash is not the character");
    ada.post("/api/v1/tasks", json!({"title": "T", "column_id": columns[0]})).await.refuses("/column_id");
    ada.post("/api/v1/task-boards", json!({"name": "B", "columns": [{"name": "C", "wip_limit": 0}]}))
        .await
        .refuses("/wip_limit");
}

#[tokio::test]
async fn a_task_takes_the_status_of_its_column() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let first = ada.post("/api/v1/tasks", json!({"title": "A", "board_id": board})).await.is(201).json();
    assert_eq!((uuid(&first["column_id"]), &first["status"]), (columns[0], &json!("todo")));
    let given = json!({"title": "B", "board_id": board, "column_id": columns[1], "status": "blocked"});
    assert_eq!(ada.post("/api/v1/tasks", given).await.is(201).json()["status"], "blocked");
    let moved = shift(&ada, uuid(&first["id"]), json!({"column_id": columns[2]})).await.is(200).json();
    assert_eq!((&moved["status"], &moved["version"]), (&json!("done"), &json!(2)));
    let loose = ada.post("/api/v1/tasks", json!({"title": "C"})).await.is(201).json();
    assert_eq!((&loose["board_id"], &loose["status"]), (&json!(null), &json!("todo")));
    shift(&ada, uuid(&loose["id"]), json!({"column_id": columns[0]})).await.problem(409, "no-board");
    let shown = ada.get(format!("/api/v1/tasks/{}", loose["id"].as_str().unwrap())).await.is(200).json();
    assert_eq!(shown, loose);
}

#[tokio::test]
async fn a_column_is_paged_from_the_kanban_on() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(ada.task(&format!("{number}"), board, columns[1]).await);
    }
    ada.task("elsewhere", board, columns[0]).await;
    let kanban = ada.get(format!("/api/v1/tasks?board_id={board}&view=kanban&limit=3")).await.is(200).json();
    let column = &kanban["columns"][1];
    assert_eq!((column["task_count"].clone(), column["page"]["has_more"].clone()), (json!(7), json!(true)));
    let mut found: Vec<Uuid> =
        column["tasks"].as_array().unwrap().iter().map(|task| uuid(&task["id"])).collect();
    assert_eq!(found.len(), 3);
    let cursor = column["page"]["next_cursor"].as_str().unwrap();
    let path = format!("/api/v1/tasks?board_id={board}&view=list&column_id={}&limit=3", columns[1]);
    let second = ada.get(format!("{path}&cursor={cursor}")).await.is(200).json();
    let cursor = second["page"]["next_cursor"].as_str().unwrap();
    let third = ada.get(format!("{path}&cursor={cursor}")).await.is(200).json();
    assert_eq!(third["page"], json!({"next_cursor": null, "has_more": false}));
    for page in [&second, &third] {
        found.extend(page["data"].as_array().unwrap().iter().map(|task| uuid(&task["id"])));
    }
    assert_eq!(found, made);
    assert_eq!(kanban["columns"][2]["page"], json!({"next_cursor": null, "has_more": false}));
    let wrong = ada.get(format!("/api/v1/tasks?board_id={board}&view=kanban&cursor={cursor}")).await;
    wrong.refuses("view");
    let (_, elsewhere) = ada.board(None).await;
    ada.get(format!("/api/v1/tasks?board_id={board}&column_id={}", elsewhere[0])).await.refuses("column_id");
}

#[tokio::test]
async fn a_task_is_put_where_it_is_told() {
    let (_, ada) = site().await;
    let (board, column, t) = column_of(&ada, 5).await;
    let [a, b, c, d, e] = t[..] else { panic!("five tasks") };
    for (task, place, expected) in [
        (e, json!({"before_id": a}), "EABCD"),
        (e, json!({}), "ABCDE"),
        (a, json!({"after_id": c}), "BCADE"),
        (d, json!({"before_id": c}), "BDCAE"),
        (e, json!({"after_id": b, "before_id": d}), "BEDCA"),
        // Not neighbours, as somebody who has not seen E come in would say: right after the upper one.
        (a, json!({"after_id": b, "before_id": d}), "BAEDC"),
        // The moved task itself lies between them.
        (a, json!({"after_id": b, "before_id": e}), "BAEDC"),
        (c, json!({"after_id": c}), "!"),
        (c, json!({"before_id": c}), "!"),
        (c, json!({"after_id": b, "before_id": b}), "!"),
        (c, json!({"after_id": d, "before_id": b}), "!"),
        (c, json!({"before_id": Uuid::now_v7()}), "!"),
    ] {
        let mut body = place.clone();
        body["column_id"] = json!(column);
        let answer = shift(&ada, task, body).await;
        if expected == "!" {
            answer.problem(422, "invalid-request");
            continue;
        }
        answer.is(200);
        assert_eq!(order(&ada, board, column).await, expected, "{place}");
    }
    assert_eq!(order(&ada, board, column).await, "BAEDC", "what was refused has moved nothing");
}

/// Halving the gap at one place uses up all numbers between two neighbours, however far out they stand.
#[tokio::test]
async fn a_column_is_numbered_anew_when_there_is_no_room() {
    let (site, ada) = site().await;
    for shifted in [false, true] {
        let (board, column, t) = column_of(&ada, 4).await;
        if shifted {
            // As after very many moves to the end: here two numbers cannot lie closer than 2^-20.
            site.execute("update tasks set position = position + 4294967296").await;
        }
        let mut pair = [t[1], t[2]];
        for round in 0..90 {
            let place = json!({"column_id": column, "after_id": t[0], "before_id": pair[0]});
            shift(&ada, pair[1], place).await.is(200);
            pair.swap(0, 1);
            let expected = if round % 2 == 0 { "ACBD" } else { "ABCD" };
            assert_eq!(order(&ada, board, column).await, expected, "round {round}, shifted: {shifted}");
        }
    }
}

#[tokio::test]
async fn a_column_takes_no_more_than_its_limit() {
    let (_, ada) = site().await;
    let columns = json!([{"name": "In", "wip_limit": 2}, {"name": "Out"}]);
    let board =
        ada.post("/api/v1/task-boards", json!({"name": "B", "columns": columns})).await.is(201).json();
    let (id, narrow, wide) =
        (uuid(&board["id"]), uuid(&board["columns"][0]["id"]), uuid(&board["columns"][1]["id"]));
    let outside = ada.task("outside", id, wide).await;
    let first = ada.task("one", id, narrow).await;
    ada.task("two", id, narrow).await;
    let new = json!({"title": "three", "board_id": id, "column_id": narrow});
    ada.post("/api/v1/tasks", new.clone()).await.problem(409, "wip-limit");
    ada.post(format!("/api/v1/tasks/{first}/subtasks"), new.clone()).await.problem(409, "wip-limit");
    shift(&ada, outside, json!({"column_id": narrow})).await.problem(409, "wip-limit");
    shift(&ada, first, json!({"column_id": narrow})).await.is(200);
    shift(&ada, first, json!({"column_id": wide})).await.is(200);
    // Of many at once, exactly as many come in as there is room.
    let all = futures::future::join_all((0..6).map(|_| ada.post("/api/v1/tasks", new.clone()))).await;
    let mut statuses: Vec<u16> = all.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_stale_task_is_not_moved() {
    let (_, ada) = site().await;
    let (board, column, t) = column_of(&ada, 3).await;
    shift(&ada, t[0], json!({"column_id": column, "version": 1})).await.is(200);
    let stale = shift(&ada, t[0], json!({"column_id": column, "before_id": t[1], "version": 1})).await;
    assert_eq!(stale.problem(412, "stale-version")["current_version"], 2);
    assert_eq!(order(&ada, board, column).await, "BCA");
    let place = json!({"column_id": column, "before_id": t[1], "version": 2});
    let (one, two) = tokio::join!(shift(&ada, t[0], place.clone()), shift(&ada, t[0], place));
    let statuses = BTreeSet::from([one.status, two.status]);
    assert_eq!(statuses, BTreeSet::from([200, 412]));
}

#[tokio::test]
async fn moves_at_once_keep_a_total_order() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let mut tasks = Vec::new();
    for number in 0..12 {
        tasks.push(ada.task(&format!("{number:x}"), board, columns[number % 3]).await);
    }
    let target = tasks[1];
    let moves = tasks.iter().filter(|task| **task != target).enumerate().map(|(number, task)| {
        let mut place = json!({"column_id": columns[1]});
        match number % 3 {
            0 => place["before_id"] = json!(target),
            1 => place["after_id"] = json!(target),
            _ => {}
        }
        shift(&ada, *task, place)
    });
    for answer in futures::future::join_all(moves).await {
        answer.is(200);
    }
    let titles = order(&ada, board, columns[1]).await;
    assert_eq!(titles.chars().collect::<BTreeSet<_>>().len(), 12, "{titles}");
}

/// What the trail says of a task is one way, without a leap, whoever was first.
#[tokio::test]
async fn the_trail_of_a_task_that_many_move_has_no_gap() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let task = ada.task("T", board, columns[0]).await;
    for _ in 0..3 {
        let moves = (0..9).map(|number| shift(&ada, task, json!({"column_id": columns[number % 3]})));
        for answer in futures::future::join_all(moves).await {
            answer.is(200);
        }
    }
    let events =
        ada.walk(&format!("/api/v1/audit?filter[target]=task:{task}&filter[action]=task.moved")).await;
    assert_eq!(events.len(), 27);
    for pair in events.windows(2) {
        assert_eq!(pair[0]["before"], pair[1]["after"], "a move begins where the one before it ended");
    }
}

/// Back and forth between two columns at once: each answer says so when somebody else was at the same rows.
#[tokio::test]
async fn crossing_moves_end() {
    let (_, ada) = site().await;
    let (board, columns) = ada.board(None).await;
    let mut tasks = Vec::new();
    for number in 0..8 {
        tasks.push(ada.task(&format!("{number}"), board, columns[number % 2]).await);
    }
    for round in 0..6 {
        let moves = tasks
            .iter()
            .enumerate()
            .map(|(number, task)| shift(&ada, *task, json!({"column_id": columns[(number + round) % 2]})));
        for answer in futures::future::join_all(moves).await {
            assert!(matches!(answer.status, 200 | 503), "{}", answer.body);
        }
    }
    let both = order(&ada, board, columns[0]).await + &order(&ada, board, columns[1]).await;
    assert_eq!(both.chars().collect::<BTreeSet<_>>().len(), 8, "{both}");
}

#[tokio::test]
async fn subtasks_lie_at_most_ten_deep() {
    let (_, ada) = site().await;
    let mut parent = ada.post("/api/v1/tasks", json!({"title": "1"})).await.is(201).id();
    let below = |parent: Uuid| format!("/api/v1/tasks/{parent}/subtasks");
    for depth in 2..=10 {
        let made = ada.post(below(parent), json!({"title": depth.to_string()})).await.is(201).json();
        assert_eq!(uuid(&made["parent_id"]), parent);
        parent = uuid(&made["id"]);
    }
    ada.post(below(parent), json!({"title": "11"})).await.problem(422, "invalid-request");
}

#[tokio::test]
async fn a_board_and_an_assignment_open_a_task() {
    let (site, ada) = site().await;
    let mia = site.member("mia", Role::Member).await;
    let (board, columns) = ada.board(None).await;
    let new = json!({"title": "T", "board_id": board, "column_id": columns[0], "assignee_id": mia.id});
    let given = ada.post("/api/v1/tasks", new).await.is(201).id();
    let other = ada.task("Other", board, columns[0]).await;
    let at = |task: Uuid| format!("/api/v1/tasks/{task}");

    mia.get(at(given)).await.is(200);
    mia.get(at(other)).await.problem(404, "not-found");
    mia.get(format!("/api/v1/tasks?board_id={board}")).await.problem(404, "not-found");
    shift(&mia, given, json!({"column_id": columns[1]})).await.is(200);
    shift(&mia, other, json!({"column_id": columns[1]})).await.problem(404, "not-found");
    mia.post(format!("{}/subtasks", at(given)), json!({"title": "Below"}))
        .await
        .problem(403, "permission-denied");

    site.relate(&format!("board:{board}#viewer@user:{}", mia.id)).await;
    mia.get(at(other)).await.is(200);
    assert_eq!(mia.walk(&format!("/api/v1/tasks?board_id={board}&limit=1")).await.len(), 2);
    mia.post("/api/v1/tasks", json!({"title": "X", "board_id": board}))
        .await
        .problem(403, "permission-denied");
    shift(&mia, other, json!({"column_id": columns[1]})).await.problem(403, "permission-denied");
    let configure = mia.post(format!("/api/v1/task-boards/{board}/columns"), json!({"name": "C"})).await;
    configure.problem(403, "permission-denied");
    // What hangs below a visible task can be on a board that is not.
    let (closed, _) = ada.board(None).await;
    let own = mia.post("/api/v1/tasks", json!({"title": "Own"})).await.is(201).id();
    let sneaky = mia.post(format!("{}/subtasks", at(own)), json!({"title": "In", "board_id": closed})).await;
    sneaky.problem(404, "not-found");
}

#[tokio::test]
async fn a_project_opens_its_boards() {
    let (site, ada) = site().await;
    let project = ada.project("Bridge").await;
    let (board, columns) = ada.board(Some(project)).await;
    let task = ada.task("T", board, columns[0]).await;
    let mia = site.member("mia", Role::Member).await;
    let path = format!("/api/v1/tasks/{task}");
    mia.get(&path).await.problem(404, "not-found");
    mia.post("/api/v1/task-boards", json!({"name": "B", "project_id": project}))
        .await
        .problem(404, "not-found");
    site.relate(&format!("project:{project}#observer@user:{}", mia.id)).await;
    mia.get(&path).await.is(200);
    mia.post("/api/v1/task-boards", json!({"name": "B", "project_id": project}))
        .await
        .problem(403, "permission-denied");
    ada.delete(format!("/api/v1/projects/{project}")).await.is(204);
    mia.get(&path).await.problem(404, "not-found");
}

#[tokio::test]
async fn a_list_needs_a_board_that_can_be_seen() {
    let (_, ada) = site().await;
    let (board, _) = ada.board(None).await;
    for bad in [
        "",
        "?board_id=x",
        "?view=list",
        &format!("?board_id={board}&view=calendar"),
        &format!("?board_id={board}&limit=0"),
        &format!("?board_id={board}&limit=201"),
        &format!("?board_id={board}&cursor=x"),
        &format!("?board_id={board}&cursor=W10"),
    ] {
        ada.get(format!("/api/v1/tasks{bad}")).await.problem(422, "invalid-request");
    }
    let empty = ada.send(Ask::get(format!("/api/v1/tasks?board_id={board}"))).await.is(200).json();
    assert_eq!(empty, json!({"data": [], "page": {"next_cursor": null, "has_more": false}}));
}
