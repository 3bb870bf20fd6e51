// Chromium, on an empty page, dials the URL in argv[2] once and prints what came of it as one line of JSON.
const { chromium } = require("playwright-core");

const args = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--no-proxy-server"];

// Runs in the page, which learns no more than that it did not open.
function openWebSocket(url) {
  return new Promise((resolve) => {
    const connection = new WebSocket(url, ["ocpp2.0.1"]);
    let opened = false;
    connection.onopen = () => { opened = true; };
    connection.onmessage = () => resolve({ outcome: "opened", subprotocol: connection.protocol || null, reason: null });
    connection.onclose = ({ code }) => {
      resolve(opened && { outcome: "failed", subprotocol: null, reason: `closed with ${code} before a message came` });
    };
  });
}

async function dial(page, url) {
  const devtools = await page.context().newCDPSession(page);
  const said = new Promise((resolve) => {
    devtools.on("Network.webSocketFrameError", ({ errorMessage }) => resolve(errorMessage));
  });
  await devtools.send("Network.enable");
  const outcome = await page.evaluate(openWebSocket, url);
  if (outcome) return outcome;
  const reason = await said;
  // Of the same form when the server answers another status than 101, or the network fails during the handshake.
  const refused = /^Error during WebSocket handshake: (?!Unexpected response code|net::)/.test(reason);
  return { outcome: refused ? "refused" : "failed", subprotocol: null, reason };
}

async function main(url) {
  let browser, outcome;
  try { // each launch has a new, temporary profile
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args });
    const late = new Promise((_, reject) => setTimeout(reject, 10_000, new Error("no answer within 10 s")).unref());
    outcome = await Promise.race([dial(await browser.newPage(), url), late]);
  } catch (error) {
    outcome = { outcome: "failed", subprotocol: null, reason: error.message.split("\n")[0] };
  }
  await browser?.close();
  console.log(JSON.stringify(outcome));
}

main(process.argv[2]);
