use formwork_authz::rel;

fn main() {
    rel!(text);
}
