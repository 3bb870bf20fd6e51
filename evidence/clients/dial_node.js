// The Node clients: `node dial_node.js NAME URL` dials with that package, and prints one line of JSON.
const [name, url] = process.argv.slice(2);
const told = { opened: false, subprotocol: null, error: null };
const socket = new (require(name).WebSocket)(url, ["ocpp2.0.1"]);

function end(error) {
  console.log(JSON.stringify({ ...told, error }));
  process.exit();
}

setTimeout(process.exit, 10_000, 1);
socket.addEventListener("open", () => {
  Object.assign(told, { opened: true, subprotocol: socket.protocol || null });
  socket.send("scope?");
});
socket.addEventListener("message", () => end(null));
// undici 7.30.2 has an error without words.
socket.addEventListener("error", ({ error }) => end(error.message ? `${error.name}: ${error.message}` : ""));
socket.addEventListener("close", ({ code }) => end(`closed with ${code} before a message came`));
