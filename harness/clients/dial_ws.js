// ws dials the URL in argv[2] once and prints what came of it as one line of JSON.
const WebSocket = require("ws");

const url = process.argv[2];
const connection = new WebSocket(url, ["ocpp2.0.1"], { handshakeTimeout: 10_000 });
let status = null;

function end(outcome, subprotocol, reason) {
  console.log(JSON.stringify({ outcome, subprotocol, reason }));
  process.exit();
}

connection.on("upgrade", (response) => { status = response.statusCode; });
connection.on("message", () => end("opened", connection.protocol || null, null));
connection.on("error", (error) => {
  const refused = status === 101 && connection.readyState !== WebSocket.OPEN;
  const reason = `${error.name}: ${error.message}`.replaceAll(/\s+/g, " ").replaceAll(new URL(url).port, "PORT");
  end(refused ? "refused" : "failed", null, reason);
});
connection.on("close", (code) => end("failed", null, `closed with ${code} before a message came`));
setTimeout(() => end("failed", null, "no answer within 10 s"), 10_000);
