// The library's dependency injection wants this polyfill before it is loaded; the order of imports is what counts here.
import 'reflect-metadata';

export * from '@peculiar/x509';
