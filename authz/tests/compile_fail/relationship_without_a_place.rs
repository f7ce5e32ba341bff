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

use access::rel;

fn main() {
    let anna = "anna";
    rel!("documant:7#viewer@user:{anna}");
    rel!("document:7#veiwer@user:{anna}");
    rel!("document:7#view@user:{anna}");
    rel!("document:7#viewer@folder:1");
}
