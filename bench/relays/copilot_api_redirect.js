// Loaded before copilot-api: sends its fixed hosts to the upstream of the measurement, and answers for GitHub itself.
const fetchReally = globalThis.fetch;
const upstream = process.env.UPSTREAM;

function fromGitHub(path) {
  if (path.endsWith("/v2/token"))
    return Response.json({ token: "tid=bench", expires_at: 4102444800, refresh_in: 86400 });
  if (path === "/user") return Response.json({ login: "bench" });
  return Response.json({});
}

globalThis.fetch = Object.assign((input, init) => {
  const url = new URL(typeof input === "string" ? input : input.url);
  if (url.hostname.endsWith("githubcopilot.com")) return fetchReally(upstream + url.pathname, init);
  if (url.hostname.endsWith("github.com")) return Promise.resolve(fromGitHub(url.pathname));
  return Promise.resolve(new Response("pkgver=1.104.3"));
}, fetchReally);
