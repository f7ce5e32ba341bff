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

fn main() {
    let _ = Document::new(7);
}
