/// The requests that came over one connection and are not answered yet. Belongs to one event loop.
final class RequestsInFlight: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private(set) var areAbandoned = false
    private var count = 0
    private var waiting: CheckedContinuation<Void, Never>?

    func begin() { count += 1 }

    func end() {
        count -= 1
        guard count == 0 else { return }
        waiting?.resume()
        waiting = nil
    }

    /// Nobody asks any more: tells the requests so, and waits until they are over.
    func abandon() async {
        areAbandoned = true
        guard count > 0 else { return }
        await withCheckedContinuation { waiting = $0 }
    }
}
