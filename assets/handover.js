// ownCloud hands a share over behind `#`, which no server sees (protocol/owncloud.md 2.2): it becomes a query, which the page for adding reads.
// Only what belongs to a share goes on, and only to this server; adding it is left to whoever reads that page.
const FIELDS = ["remote", "token", "owner", "ownerDisplayName", "name", "protected"];

function handOver() {
  const behind = new URLSearchParams(location.hash.slice(1));
  if (!behind.get("remote") || !behind.get("token")) {
    return;
  }
  const query = new URLSearchParams();
  for (const field of FIELDS) {
    const value = behind.get(field);
    if (value !== null) {
      query.set(field, value);
    }
  }
  location.replace(`${document.documentElement.dataset.files}?${query}`);
}

addEventListener("hashchange", handOver);
handOver();
