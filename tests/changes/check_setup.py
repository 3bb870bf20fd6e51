"""uvicorn.Config.setup_event_loop() is gone since 0.36.0 (#2435); run it with pytest."""

import uvicorn


def test_the_event_loop_can_be_set_up():
    uvicorn.Config(None).setup_event_loop()
