import Bus
import NIOCore
import Network
import Spool

/// What came of an administrator's wish.
enum AdministrationResult {
    case done
    /// It's done as soon as the deliveries that are going on are over.
    case later
    /// There is no such message.
    case missing
    /// It can't be done now: why.
    case refused(String)
    case failed(SpoolError)
}

extension Scheduler {
    /// A message that nobody else works on.
    private func free(_ id: MessageID) -> Result<QueuedMessage, AdministrationRefusal> {
        guard let message = table[id] else { return .failure(.missing) }
        return message.isChanging ? .failure(.busy) : .success(message)
    }

    private enum AdministrationRefusal: Error {
        case missing
        case busy

        var result: AdministrationResult { self == .missing ? .missing : .refused("another command works on it") }
    }

    private func with(
        _ id: MessageID,
        _ body: (QueuedMessage) async -> AdministrationResult
    ) async -> AdministrationResult {
        switch free(id) {
        case .failure(let refusal): return refusal.result
        case .success(let message):
            message.isChanging = true
            defer { message.isChanging = false }
            return await body(message)
        }
    }

    // MARK: Holding

    func hold(_ id: MessageID) async -> AdministrationResult {
        await with(id) { message in
            if message.isHeld { return .done }
            if message.isActive {
                message.isHoldWanted = true
                return .later
            }
            return await putAside(message)
        }
    }

    private func putAside(_ message: QueuedMessage) async -> AdministrationResult {
        message.isHoldWanted = false
        message.isHeld = true
        for job in message.jobs { job.phase = .idle }
        do throws(SpoolError) {
            let id = message.id
            try await offLoop { [spool] () throws(SpoolError) in try spool.setHeld(id, true) }
            dropEnvelope(of: message)
            log.administered(id, "held")
            return .done
        } catch {
            message.isHeld = false
            for job in message.jobs { schedule(job) }
            schedulePump()
            return .failed(error)
        }
    }

    /// Holds a message if that's what the administrator waits for; returns whether its jobs are taken care of.
    func settleWish(of message: QueuedMessage) -> Bool {
        guard message.isHoldWanted, !message.isActive, !message.isRemoved else { return false }
        // Until its file is in hold/, no other command may look for it there.
        message.isChanging = true
        message.isHeld = true
        Task(executorPreference: LoopExecutor.of(loop)) {
            _ = await self.putAside(message)
            message.isChanging = false
        }
        return true
    }

    func release(_ id: MessageID) async -> AdministrationResult {
        await with(id) { message in
            message.isHoldWanted = false
            guard message.isHeld else { return .done }
            do throws(SpoolError) {
                try await offLoop { [spool] () throws(SpoolError) in try spool.setHeld(id, false) }
            } catch {
                return .failed(error)
            }
            message.isHeld = false
            for job in message.jobs {
                job.due = 0
                schedule(job)
            }
            schedulePump()
            log.administered(id, "released")
            return .done
        }
    }

    // MARK: Ending

    func remove(_ id: MessageID) async -> AdministrationResult {
        await with(id) { message in
            message.isRemoved = true
            do throws(SpoolError) {
                try await spool.commitDurably([.done(id)])
            } catch {
                message.isRemoved = false
                return .failed(error)
            }
            // Nothing of it is left to see when the administrator hears of it.
            await withCheckedContinuation { continuation in
                spool.commit([], applied: { continuation.resume() })
            }
            forget(message)
            log.administered(id, "removed")
            return .done
        }
    }

    func bounce(_ id: MessageID, text: String) async -> AdministrationResult {
        await with(id) { message in
            if message.isActive { return .refused("it is being delivered") }
            log.administered(id, "returned")
            for job in message.jobs { conclude(job, RecipientResult(kind: .reject, status: "5.0.0", text: text)) }
            return .done
        }
    }

    // MARK: Trying

    /// Works out anew where a message goes, and forgets earlier attempts.
    func requeue(_ id: MessageID) async -> AdministrationResult {
        await with(id) { message in
            if message.isActive { return .refused("it is being delivered") }
            for job in message.jobs { job.phase = .idle }
            do throws(SpoolError) {
                let line = StateEntry(time: clock.now() / 1000, recipient: 0, event: .requeued).line
                let head = try await load(id, isHeld: message.isHeld, verified: false)
                try await spool.commitDurably([.state(id, lines: ByteBuffer(string: line))])
                let entries = try await offLoop { [spool] () throws(SpoolError) in try spool.state(of: id) }
                let progress = MessageProgress(entries + [StateEntry(time: 0, recipient: 0, event: .requeued)])
                makeJobs(of: message, head.envelope, progress, mayBeKnown: true)
            } catch {
                for job in message.jobs where !message.isHeld { schedule(job) }
                return .failed(error)
            }
            if !message.isHeld { for job in message.jobs { schedule(job) } }
            schedulePump()
            log.administered(id, "requeued")
            return .done
        }
    }

    func flush(_ id: MessageID) -> AdministrationResult {
        guard let message = table[id] else { return .missing }
        if message.isHeld { return .refused("it is held") }
        flush(message)
        schedulePump()
        return .done
    }

    /// Tries everything now, or all that goes to one destination; returns how many deliveries that were.
    func flush(destination: String?) -> Int {
        var count = 0
        for entry in destinations.values where destination == nil || entry.name == destination { entry.unblock() }
        table.forEach { message in
            if !message.isHeld { count += flush(message, destination: destination) }
        }
        for entry in destinations.values where destination == nil || entry.name == destination { enterLine(entry) }
        schedulePump()
        return count
    }

    @discardableResult
    private func flush(_ message: QueuedMessage, destination: String? = nil) -> Int {
        var count = 0
        for job in message.jobs where destination == nil || job.destination.name == destination {
            switch job.phase {
            case .deferred:
                job.due = 0
                schedule(job)
                job.destination.unblock()
                enterLine(job.destination)
                count += 1
            case .ready:
                job.destination.unblock()
                enterLine(job.destination)
                count += 1
            case .active, .idle: break
            }
        }
        return count
    }
}
