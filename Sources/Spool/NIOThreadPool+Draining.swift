import NIOPosix

extension NIOThreadPool {
    /// Returns when everything is done that was submitted before to this pool of one thread. The thread stays: NIO's own
    /// way to end it goes through libdispatch, which must not wake in a daemon that can't read /proc.
    func drain() async { try? await runIfActive {} }
}
