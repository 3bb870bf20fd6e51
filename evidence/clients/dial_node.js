// The Node clients: `node dial_node.js NAME URL` dials with that package, and prints one line of JSON.
const [name, url] = process.argv.slice(2);
const told = { outcome: "refused", subprotocol: null, reason: null };
const socket = new (require(name).WebSocket)(url, ["ocpp2.0.1"]);

function end(more) {
  console.log(JSON.stringify({ ...told, ...more }));
  process.exit();
}

socket.addEventListener("open", () => {
  Object.assign(told, { outcome: "failed", subprotocol: socket.protocol || null });
  socket.send("scope?");
});
socket.addEventListener("message", () => end({ outcome: "opened" }));
// undici 7.30.2 has an error without words.
socket.addEventListener("error", ({ error }) => end({ reason: error.message ? `${error.name}: ${error.message}` : null }));
socket.addEventListener("close", ({ code }) => end({ reason: `closed with ${code} before a message came` }));
