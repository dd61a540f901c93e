import NIOCore

extension EventLoop {
    /// Waits. By the loop's own clock: `Task.sleep` goes through libdispatch, which a daemon must not wake.
    package func pause(_ time: TimeAmount) async {
        try? await scheduleTask(in: time) {}.futureResult.get()
    }
}
