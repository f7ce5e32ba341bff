mod access {
    formwork_authz::schema!(
        "definition user {}
         definition folder { relation viewer: user }
         definition document {
             relation editor: user
             relation viewer: user
             permission edit = editor
             permission view = viewer + edit
         }"
    );
}

use access::{Document, User};

fn main() {
    let graph = formwork_authz::Graph::load(access::schema().unwrap(), []);
    let anna = graph.for_subject(&User::new("anna")).unwrap();
    let _ = anna.check(Document::CAN.veiw, &Document::new(7));
}
