//! The key file: who may read it, how it changes, and what it refuses.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::Path, thread};

use formwork_tenancy::{
    TenantId,
    keys::{KeyContext, KeyProvider, LocalKeyFile, ProviderError, Purpose, SecretKey},
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[tokio::test]
async fn it_is_its_owners_alone_from_the_start_and_after_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let file = LocalKeyFile::open_or_create(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    file.rotate().unwrap();
    file.current(TenantId::generate()).await.unwrap();
    assert_eq!(mode(&path), 0o600);
    let left: BTreeSet<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, BTreeSet::from(["keys.json".to_owned(), "keys.json.lock".to_owned()]));
    let secret = fs::read_to_string(&path).unwrap();
    let key = secret.split('"').find(|word| word.len() == 44).unwrap();
    assert!(!format!("{file:?} {:?}", SecretKey::generate().unwrap()).contains(key));
}

#[tokio::test]
async fn a_file_that_others_may_use_is_refused_also_while_running() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let file = LocalKeyFile::open_or_create(&path).unwrap();
    for loose in [0o644, 0o640, 0o620, 0o601] {
        set_mode(&path, loose);
        let error = LocalKeyFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("keys.json") && error.contains(&format!("mode {loose:04o}")), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
        let error = file.current(TenantId::generate()).await.unwrap_err();
        assert!(text_of(&error).contains("chmod 600"), "{}", text_of(&error));
    }
    set_mode(&path, 0o600);
    set_mode(folder.path(), 0o777);
    let error = LocalKeyFile::open(&path).unwrap_err().to_string();
    assert!(error.contains("folder that others may write to"), "{error}");
    set_mode(folder.path(), 0o1777);
    file.current(TenantId::generate()).await.unwrap();
}

#[test]
fn a_file_that_is_none_is_named_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let missing = LocalKeyFile::open(&path).unwrap_err();
    assert!(text_of(&missing).contains("keys.json` cannot be opened"), "{missing}");
    LocalKeyFile::open_or_create(&path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let spoilt = [
        good.replace("\"format\":1", "\"format\":2"),
        good.replace("\"masters\":", "\"topsecret\":"),
        good.get(..good.len() / 2).unwrap().to_owned(),
        good.replace("\"key\":\"", "\"key\":\"topsecret"),
        String::new(),
    ];
    for text in spoilt {
        fs::write(&path, text).unwrap();
        let error = LocalKeyFile::open_or_create(&path).unwrap_err();
        assert!(error.to_string().contains("keys.json"), "{error}");
        assert!(!text_of(&error).contains("topsecret"), "{}", text_of(&error));
    }
}

#[test]
fn ten_that_make_it_at_once_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let made: Vec<_> = (0..10)
        .map(|_| {
            let path = path.clone();
            thread::spawn(move || LocalKeyFile::open_or_create(path).unwrap().rotate().unwrap())
        })
        .collect();
    // Each has added a master key to the same file, and none was lost.
    let versions: BTreeSet<u32> = made.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(versions, (2..=11).collect());
}

#[tokio::test]
async fn a_wrapped_key_opens_for_its_context_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let file = LocalKeyFile::open_or_create(&path).unwrap();
    let (a, b, key) = (TenantId::generate(), TenantId::generate(), SecretKey::generate().unwrap());
    let context = KeyContext::new(a, Purpose::Data, 1);
    let wrapped = file.wrap(&context, &key).await.unwrap();
    file.current(b).await.unwrap();
    let others = [
        KeyContext::new(b, Purpose::Data, 1),
        KeyContext::new(a, Purpose::Index, 1),
        KeyContext::new(a, Purpose::Data, 2),
    ];
    for other in others {
        let error = file.unwrap(&other, &wrapped).await.unwrap_err();
        assert!(matches!(error, ProviderError::Refused { .. }), "{error}");
    }
    // After a rotation it still opens, and so does it for another process.
    file.rotate().unwrap();
    let other_process = LocalKeyFile::open(&path).unwrap();
    assert_eq!(other_process.unwrap(&context, &wrapped).await.unwrap().expose(), key.expose());
    assert_ne!(other_process.current(a).await.unwrap(), wrapped.provider_key());

    let another = LocalKeyFile::open_or_create(folder.path().join("another.json")).unwrap();
    let error = another.unwrap(&context, &wrapped).await.unwrap_err().to_string();
    assert!(error.contains("open the file of this database"), "{error}");
}

/// What another process has destroyed is destroyed here too, though this one has read the file before.
#[tokio::test]
async fn what_is_destroyed_stays_so_for_every_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let (one, other) =
        (LocalKeyFile::open_or_create(&path).unwrap(), LocalKeyFile::open_or_create(&path).unwrap());
    let (tenant, key) = (TenantId::generate(), SecretKey::generate().unwrap());
    let context = KeyContext::new(tenant, Purpose::Data, 1);
    let wrapped = one.wrap(&context, &key).await.unwrap();
    let secret = |path| {
        let content: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        content["tenants"][tenant.to_string()].as_str().map(str::to_owned)
    };
    let before = secret(&path).unwrap();
    for _ in 0..2 {
        other.destroy(tenant).await.unwrap();
    }
    assert!(!fs::read_to_string(&path).unwrap().contains(&before));
    for file in [&one, &other, &LocalKeyFile::open(&path).unwrap()] {
        assert!(matches!(file.unwrap(&context, &wrapped).await, Err(ProviderError::Destroyed)));
        assert!(matches!(file.wrap(&context, &key).await, Err(ProviderError::Destroyed)));
        assert!(matches!(file.current(tenant).await, Err(ProviderError::Destroyed)));
    }
}
