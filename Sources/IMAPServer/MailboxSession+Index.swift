import MailIndex
import Mailbox
import MailboxProcess
import Network

extension MailboxSession {
    /// What is kept of the selected folder's messages; nil where nothing is, or it can't be used now.
    func index(of selected: SelectedFolder) async -> FolderIndex? {
        if let known = selected.index { return known }
        selected.index = await index(of: selected.folder, at: selected.path)
        return selected.index
    }

    /// The same for any folder.
    func index(of folder: any MailFolder, at path: FolderName) async -> FolderIndex? {
        guard let home = home(of: path), let file = indexes?.index(indexFile(home.location)) else { return nil }
        let (name, validity) = (home.name.description, folder.uidValidity)
        return await disk.run { file.folder(name, validity: validity) }
    }

    /// Has the folder's texts put into the index soon, so that searches find them at once.
    ///
    /// - Parameter uid: messages above this one alone: they have just come.
    func indexTexts(of selected: SelectedFolder, after uid: UInt32 = 0) {
        // The texts of another's folder are for his own sessions to index.
        guard store.isPersonal(selected.path) else { return }
        guard let indexer, let file = indexes?.index(indexFile(location)), !selected.folder.messages.isEmpty else {
            return
        }
        let job = TextIndexer.Job(location: location, store: store, folder: selected.path, index: file, after: uid)
        indexer.add(job)
    }

    /// The account that a folder is in, and its name there.
    func home(of path: FolderName) -> (location: MailboxLocation, name: FolderName)? {
        united == nil ? (location, path) : store.home(of: path)
    }

    private func indexFile(_ location: MailboxLocation) -> String { location.indexFile(in: settings.mailDirectory) }
}
