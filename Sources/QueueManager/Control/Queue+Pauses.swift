import NIOCore
import Spool

/// Pauses are in the spool before they are in force, so that they are there after a kill.
extension Queue {
    /// A change of what is paused that waits for its turn, or is being written.
    struct PauseChange {
        let change: @Sendable (inout Pauses) -> Void
        let done: @Sendable (SpoolError?) -> Void
    }

    /// Takes in what the spool has of pauses. For the start; blocks.
    ///
    /// - Throws: `corrupt`, `failed`: mail that should wait must not leave because of it.
    package func readPauses() throws(SpoolError) {
        guard let file = try spool.pauses() else { return }
        guard var pauses = Pauses(file: file) else { throw .corrupt("pauses") }
        pauses.removeEnded(at: clock.now())
        schedule.setPauses(pauses, at: clock.now())
    }

    /// Whose mail is paused.
    package var pausedSubjects: [Pause.Subject] { schedule.pauses.all.map(\.subject) }

    /// Begins a pause.
    package func pause(_ pause: Pause, done: @escaping @Sendable (SpoolError?) -> Void) {
        changePauses(PauseChange(change: { $0.insert(pause) }, done: done))
    }

    /// Ends pauses.
    package func resume(_ subjects: [Pause.Subject], done: @escaping @Sendable (SpoolError?) -> Void) {
        changePauses(PauseChange(change: { for subject in subjects { _ = $0.remove(subject) } }, done: done))
    }

    private func changePauses(_ change: PauseChange) {
        loop.assertInEventLoop()
        pauseChanges.append(change)
        if pauseChanges.count == 1 { writeNextPauses() }
    }

    private func writeNextPauses() {
        guard let next = pauseChanges.first, !isClosed else { return }
        var pauses = schedule.pauses
        next.change(&pauses)
        let fresh = pauses
        spool.perform { (spool) throws(SpoolError) in
            try spool.setPauses(fresh.file)
        } done: { [self] result in
            switch result {
            case .success:
                var fresh = fresh
                fresh.setDisabled(as: schedule.pauses)
                schedule.setPauses(fresh, at: clock.now())
                next.done(nil)
            case .failure(let error): next.done(error)
            }
            pauseChanges.removeFirst()
            writeNextPauses()
            goOn()
        }
    }
}
