use formwork_authz_macros::rel;

fn main() {
    rel!(text);
}
