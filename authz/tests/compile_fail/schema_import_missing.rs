formwork_authz::schema!(
    "use import
     import \"people.zed\"
     definition document { relation viewer: user }"
);

fn main() {}
