import NIOConcurrencyHelpers
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// The signals of the supervisor: SIGTERM and SIGINT end the daemon, SIGHUP reloads. They are blocked in every thread and
/// waited for by the main thread, which has nothing else to do.
final class ProcessSignals: Sendable {
    private struct State {
        var ending = false
        var waiting: [CheckedContinuation<Void, Never>] = []
        var reloads: [AsyncStream<Void>.Continuation] = []
    }

    private let state = NIOLockedValueBox(State())

    /// Blocks the signals in the calling thread and those that it starts.
    static func block() {
        var set = Self.set
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits for signals; never returns.
    func wait() -> Never {
        var set = Self.set
        while true {
            var signal: CInt = 0
            guard sigwait(&set, &signal) == 0 else { continue }
            if signal == SIGHUP { reload() } else { end() }
        }
    }

    /// Returns when the daemon has been asked to end.
    func untilEnd() async {
        await withCheckedContinuation { continuation in
            let isEnding = state.withLockedValue { state in
                if !state.ending { state.waiting.append(continuation) }
                return state.ending
            }
            if isEnding { continuation.resume() }
        }
    }

    /// An element for each SIGHUP from now on.
    func reloads() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        state.withLockedValue { $0.reloads.append(continuation) }
        return stream
    }

    private func end() {
        let waiting = state.withLockedValue { state in
            defer { state.waiting = [] }
            state.ending = true
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    private func reload() {
        for continuation in state.withLockedValue({ $0.reloads }) { continuation.yield() }
    }

    private static var set: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGTERM, SIGINT, SIGHUP] { sigaddset(&set, signal) }
        return set
    }
}
