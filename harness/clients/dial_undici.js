// undici's WebSocket dials the URL in argv[2] once and prints what came of it as one line of JSON.
const { subscribe } = require("node:diagnostics_channel");
const { WebSocket } = require("undici");

let status = null;
let failure = "no response";
// The WebSocket's own events look the same whatever went wrong, so undici's diagnostics have to tell what it was.
subscribe("undici:request:headers", ({ response }) => { status = response.statusCode; });
subscribe("undici:request:error", ({ error }) => { failure = `${error.name}: ${error.message}`; });

const connection = new WebSocket(process.argv[2], ["ocpp2.0.1"]);
let opened = false;

function end(outcome, subprotocol, reason) {
  console.log(JSON.stringify({ outcome, subprotocol, reason }));
  process.exit();
}

connection.addEventListener("open", () => { opened = true; });
connection.addEventListener("message", () => end("opened", connection.protocol || null, null));
connection.addEventListener("error", ({ error }) => {
  if (status === 101 && !opened) {
    end("refused", null, error.message || null); // in 7.30.2 the message is empty
  }
  if (!opened) {
    const reason = status === null ? failure : `the server answered ${status}`;
    end("failed", null, reason.replaceAll(new URL(process.argv[2]).port, "PORT"));
  }
});
connection.addEventListener("close", ({ code }) => end("failed", null, `closed with ${code} before a message came`));
setTimeout(() => end("failed", null, "no answer within 10 s"), 10_000);
