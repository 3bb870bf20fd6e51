# /// script
# dependencies = ["aiohttp==3.14.5", "aiohappyeyeballs==2.7.1", "aiosignal==1.4.0", "attrs==26.1.0", "yarl==1.25.1",
#     "idna==3.20", "frozenlist==1.8.0", "multidict==7.2.1", "propcache==0.5.4", "typing-extensions==4.16.0"]
# ///
from aiohttp import ClientSession
from dialing import OFFERED, tell


@tell
async def dial(url):
    async with ClientSession() as session, session.ws_connect(url, protocols=[OFFERED]) as connection:
        yield connection.protocol
        await connection.send_str("scope?")
        await connection.receive_str()
